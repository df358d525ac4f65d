#include "core/http/h2_session.h"

#include <malloc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "core/http/h1_response.h"

namespace ringscale::core::http {
namespace {

// Answers to pings and settings that may wait for a peer that does not read.
constexpr std::size_t kMaxQueuedAcks = 64;
constexpr std::size_t kMaxSettingsEntries = 16;
constexpr std::size_t kMaxContinuations = 8;

std::string_view View(const std::uint8_t* data, std::size_t size) {
  return AsText(Bytes(data, size));
}

}  // namespace

Error NotSettled() {
  return {ErrorCode::kInternal, "HTTP/2: the engine did not count what was sent past it"};
}

Error EngineError(ssize_t code) {
  const int number = static_cast<int>(code);
  ErrorCode kind = ErrorCode::kInvalid;
  if (number == NGHTTP2_ERR_NOMEM || number == NGHTTP2_ERR_FLOODED ||
      number == NGHTTP2_ERR_CALLBACK_FAILURE) {
    kind = ErrorCode::kLimit;
  }
  return {kind, std::string("HTTP/2: ") + nghttp2_strerror(number)};
}

nghttp2_mem H2Server::Session::MakeMem(Memory& memory) {
  nghttp2_mem mem;
  mem.mem_user_data = &memory;
  mem.malloc = [](std::size_t size, void* user) -> void* {
    auto& m = *static_cast<Memory*>(user);
    if (size > m.limit - std::min(m.limit, m.used)) return nullptr;
    void* p = std::malloc(size);
    m.used += malloc_usable_size(p);
    return p;
  };
  mem.free = [](void* p, void* user) {
    static_cast<Memory*>(user)->used -= malloc_usable_size(p);
    std::free(p);
  };
  mem.calloc = [](std::size_t count, std::size_t size, void* user) -> void* {
    auto& m = *static_cast<Memory*>(user);
    std::size_t total = 0;
    if (__builtin_mul_overflow(count, size, &total) ||
        total > m.limit - std::min(m.limit, m.used)) {
      return nullptr;
    }
    void* p = std::calloc(count, size);
    m.used += malloc_usable_size(p);
    return p;
  };
  mem.realloc = [](void* p, std::size_t size, void* user) -> void* {
    auto& m = *static_cast<Memory*>(user);
    const std::size_t before = malloc_usable_size(p);
    if (size > before && size - before > m.limit - std::min(m.limit, m.used)) return nullptr;
    void* moved = std::realloc(p, size);
    if (moved != nullptr) m.used = m.used - before + malloc_usable_size(moved);
    return moved;
  };
  return mem;
}

nghttp2_session_callbacks* H2Server::Session::Callbacks() {
  static nghttp2_session_callbacks* const callbacks = [] {
    nghttp2_session_callbacks* made = nullptr;
    if (nghttp2_session_callbacks_new(&made) != 0) std::abort();
    nghttp2_session_callbacks_set_on_begin_frame_callback(made, OnBeginFrame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(made, OnBeginHeaders);
    nghttp2_session_callbacks_set_on_header_callback(made, OnHeader);
    nghttp2_session_callbacks_set_on_frame_recv_callback(made, OnFrame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, OnDataChunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(made, OnStreamClose);
    nghttp2_session_callbacks_set_on_frame_send_callback(made, OnFrameSent);
    nghttp2_session_callbacks_set_send_data_callback(made, SendData);
    return made;
  }();
  return callbacks;
}

const nghttp2_option* H2Server::Session::Options() {
  static const nghttp2_option* const options = [] {
    nghttp2_option* made = nullptr;
    if (nghttp2_option_new(&made) != 0) std::abort();
    nghttp2_option_set_no_closed_streams(made, 1);
    nghttp2_option_set_max_outbound_ack(made, kMaxQueuedAcks);
    nghttp2_option_set_max_settings(made, kMaxSettingsEntries);
    nghttp2_option_set_max_continuations(made, kMaxContinuations);
    nghttp2_option_set_max_send_header_block_length(made, 16 * 1024);
    // Our few response fields are in the static table or short: a dynamic table
    // would only cost memory on every idle connection.
    nghttp2_option_set_max_deflate_dynamic_table_size(made, 0);
    return made;
  }();
  return options;
}

H2Server::Session::Session(H2Handler& handler, const H2Limits& limits)
    : handler_(handler),
      limits_(limits),
      memory_{0, limits.session_memory},
      mem_(MakeMem(memory_)) {
  if (nghttp2_session_server_new3(&session_, Callbacks(), this, Options(), &mem_) != 0) {
    session_ = nullptr;
    failed_ = true;
    return;
  }
  const std::array<nghttp2_settings_entry, 3> settings{{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits_.streams},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(limits_.header_bytes)},
      // Priorities would let a peer build a tree of idle streams.
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  }};
  failed_ =
      nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) != 0;
}

H2Server::Session::~Session() {
  for (const auto& stream : streams_) {
    if (stream->source && !stream->source_ended) stream->source->OnAborted();
    stream->source.reset();
  }
  nghttp2_session_del(session_);
}

// --- input ---

Result<> H2Server::Session::Feed(Bytes bytes) {
  if (failed_) return Fail(ErrorCode::kClosed, "HTTP/2: the session has ended");
  idle_bytes_ += bytes.size();
  if (idle_bytes_ > limits_.idle_bytes) {
    failed_ = true;
    return Fail(ErrorCode::kLimit, "HTTP/2: too many bytes that lead to nothing");
  }
  nghttp2_session* const engine = Engine();
  if (failed_) return std::unexpected<Error>(NotSettled());
  const ssize_t taken = nghttp2_session_mem_recv(engine, bytes.data(), bytes.size());
  if (taken < 0) {
    failed_ = true;
    return std::unexpected<Error>(EngineError(taken));
  }
  return {};
}

int H2Server::Session::OnBeginFrame(nghttp2_session*, const nghttp2_frame_hd*, void* user) {
  auto& self = *static_cast<Session*>(user);
  return ++self.idle_frames_ > self.limits_.idle_frames ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

int H2Server::Session::OnBeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  auto& self = *static_cast<Session*>(user);
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  auto stream = std::make_unique<Stream>(self, frame->hd.stream_id);
  stream->request.stream = frame->hd.stream_id;
  self.streams_.push_back(std::move(stream));
  return 0;
}

int H2Server::Session::OnHeader(nghttp2_session*, const nghttp2_frame* frame,
                                const std::uint8_t* name, std::size_t name_size,
                                const std::uint8_t* value, std::size_t value_size,
                                std::uint8_t /*flags*/, void* user) {
  auto& self = *static_cast<Session*>(user);
  Stream* stream = self.Find(frame->hd.stream_id);
  if (stream != nullptr) {
    self.TakeHeader(*stream, View(name, name_size), View(value, value_size));
  }
  return 0;
}

void H2Server::Session::TakeHeader(Stream& stream, std::string_view name, std::string_view value) {
  stream.header_bytes += name.size() + value.size() + 32;  // as RFC 9113 section 6.5.2 counts
  if (++stream.header_count > limits_.header_count || stream.header_bytes > limits_.header_bytes) {
    stream.refusal = 431;
    return;
  }
  if (name == ":method") {
    stream.request.method = value;
  } else if (name == ":authority") {
    stream.request.authority = value;
  } else if (name == ":path") {
    const std::size_t question = std::min(value.find('?'), value.size());
    stream.request.path = value.substr(0, question);
    if (question < value.size()) stream.request.query = value.substr(question + 1);
  }
}

int H2Server::Session::OnFrame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  auto& self = *static_cast<Session*>(user);
  if (frame->hd.type == NGHTTP2_SETTINGS) {
    self.established_ = true;
    return 0;
  }
  if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
  Stream* stream = self.Find(frame->hd.stream_id);
  if (stream == nullptr || stream->answered) return 0;
  if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
    self.OnHeadComplete(*stream);
  }
  if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && !stream->answered) {
    self.OnRequestComplete(*stream);
  }
  return 0;
}

void H2Server::Session::OnHeadComplete(Stream& stream) {
  if (stream.refusal != 0) {
    RefuseStream(stream, stream.refusal);
    return;
  }
  const H2BodyLimits limits = handler_.OnHead(stream.request);
  stream.body_limit = limits.request;
  session_body_limit_ = limits.session;
}

int H2Server::Session::OnDataChunk(nghttp2_session*, std::uint8_t /*flags*/, std::int32_t stream_id,
                                   const std::uint8_t* data, std::size_t size, void* user) {
  auto& self = *static_cast<Session*>(user);
  Stream* stream = self.Find(stream_id);
  if (stream == nullptr || stream->answered) return 0;
  std::string& body = stream->request.body;
  if (size > stream->body_limit - body.size() ||
      size > self.session_body_limit_ - std::min(self.session_body_limit_, self.body_bytes_)) {
    self.RefuseStream(*stream, 413);
    return 0;
  }
  body.append(View(data, size));
  self.body_bytes_ += size;
  return 0;
}

void H2Server::Session::OnRequestComplete(Stream& stream) {
  idle_frames_ = 0;
  idle_bytes_ = 0;
  body_bytes_ -= stream.request.body.size();
  stream.dispatched = true;
  H2Request request = std::move(stream.request);
  stream.request = {};
  stream.request.method = request.method;
  handler_.OnRequest(std::move(request));
}

void H2Server::Session::RefuseStream(Stream& stream, int status) {
  body_bytes_ -= stream.request.body.size();
  std::string().swap(stream.request.body);
  std::string text(StatusText(status));
  text += '\n';
  stream.pending_bytes = text.size();
  stream.pending.push_back(SharedSlice::Own(std::move(text)));
  stream.source_ended = true;
  Submit(stream, status, {{"content-type", "text/plain; charset=utf-8"}}, true);
}

int H2Server::Session::OnStreamClose(nghttp2_session*, std::int32_t stream_id,
                                     std::uint32_t /*error*/, void* user) {
  static_cast<Session*>(user)->Destroy(stream_id);
  return 0;
}

// --- streams ---

H2Server::Session::Stream* H2Server::Session::Find(std::int32_t id) {
  const auto it = std::ranges::find_if(streams_, [&](const auto& s) { return s->id == id; });
  return it == streams_.end() ? nullptr : it->get();
}

void H2Server::Session::Destroy(std::int32_t id) {
  const auto it = std::ranges::find_if(streams_, [&](const auto& s) { return s->id == id; });
  if (it == streams_.end()) return;
  const std::unique_ptr<Stream> stream = std::move(*it);
  *it = std::move(streams_.back());
  streams_.pop_back();
  for (Stream** list : {&woken_, &taking_}) {
    while (*list != nullptr && *list != stream.get()) list = &(*list)->next_woken;
    if (*list != nullptr) *list = stream->next_woken;
  }
  body_bytes_ -= stream->dispatched ? 0 : stream->request.body.size();
  if (stream->source && !stream->source_ended) stream->source->OnAborted();
  stream->source.reset();
  if (stream->dispatched) handler_.OnStreamClosed(id);
}

void H2Server::Session::Abort() {
  failed_ = true;
  while (!streams_.empty()) Destroy(streams_.back()->id);
}

void H2Server::Session::OnWake(Stream& stream) {
  if (stream.woken) return;
  stream.woken = true;
  stream.next_woken = std::exchange(woken_, &stream);
  stream.handler.OnOutputReady();
}

void H2Server::Session::Reset(std::int32_t stream) {
  if (failed_ || Find(stream) == nullptr) return;
  nghttp2_submit_rst_stream(Engine(), NGHTTP2_FLAG_NONE, stream, NGHTTP2_INTERNAL_ERROR);
  handler_.OnOutputReady();
}

void H2Server::Session::GoAway() {
  if (failed_) return;
  nghttp2_submit_goaway(Engine(), NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                        nullptr, 0);
  handler_.OnOutputReady();
}

bool H2Server::Session::EngineFinished() const {
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

}  // namespace ringscale::core::http
