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
constexpr std::size_t kKeptSlices = 4;

std::string_view View(const std::uint8_t* data, std::size_t size) {
  return AsText(Bytes(data, size));
}

nghttp2_nv Field(std::string_view name, std::string_view value) {
  // nghttp2 copies both (no NO_COPY flags), so it does not write to them.
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(),
          value.size(), NGHTTP2_NV_FLAG_NONE};
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

}  // namespace

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
  const ssize_t taken = nghttp2_session_mem_recv(session_, bytes.data(), bytes.size());
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
  woken_.push_back(stream.id);
  handler_.OnOutputReady();
}

void H2Server::Session::Reset(std::int32_t stream) {
  if (failed_ || Find(stream) == nullptr) return;
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream, NGHTTP2_INTERNAL_ERROR);
  handler_.OnOutputReady();
}

void H2Server::Session::GoAway() {
  if (failed_) return;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                        nullptr, 0);
  handler_.OnOutputReady();
}

bool H2Server::Session::finished() const {
  return failed_ ||
         (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0);
}

// --- output ---

bool H2Server::Session::Submit(Stream& stream, int status, const std::vector<Header>& headers,
                               bool with_body) {
  stream.answered = true;
  const std::string status_text = std::to_string(status);
  std::vector<nghttp2_nv> fields;
  fields.reserve(headers.size() + 1);
  fields.push_back(Field(":status", status_text));
  for (const Header& header : headers) fields.push_back(Field(header.name, header.value));
  nghttp2_data_provider body;
  body.source.ptr = &stream;
  body.read_callback = ReadBody;
  const bool bodiless = !with_body || stream.request.method == "HEAD" || status == 204;
  if (nghttp2_submit_response(session_, stream.id, fields.data(), fields.size(),
                              bodiless ? nullptr : &body) != 0) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_INTERNAL_ERROR);
  }
  handler_.OnOutputReady();
  return true;
}

bool H2Server::Session::Respond(std::int32_t stream_id, H2Response response) {
  Stream* stream = failed_ ? nullptr : Find(stream_id);
  if (stream == nullptr || !stream->dispatched || stream->answered) return false;
  const bool with_body = !response.body.empty();
  if (with_body) {
    response.headers.push_back({"content-length", std::to_string(response.body.size())});
    stream->pending_bytes = response.body.size();
    stream->pending.push_back(SharedSlice::Own(std::move(response.body)));
  }
  stream->source_ended = true;
  return Submit(*stream, response.status, response.headers, with_body);
}

bool H2Server::Session::RespondStream(std::int32_t stream_id, int status,
                                      const std::vector<Header>& headers, MakeSource make) {
  Stream* stream = failed_ ? nullptr : Find(stream_id);
  if (stream == nullptr || !stream->dispatched || stream->answered) return false;
  std::unique_ptr<BodySource> source = make(*stream);
  if (!source) {
    return Respond(
        stream_id,
        {500, {{"content-type", "text/plain; charset=utf-8"}}, "internal server error\n"});
  }
  stream->source = std::move(source);
  return Submit(*stream, status, headers, true);
}

ssize_t H2Server::Session::ReadBody(nghttp2_session*, std::int32_t /*stream_id*/,
                                    std::uint8_t* /*buffer*/, std::size_t size,
                                    std::uint32_t* flags, nghttp2_data_source* source,
                                    void* /*user*/) {
  auto& stream = *static_cast<Stream*>(source->ptr);
  if (stream.pending_bytes == 0 && !stream.source_ended) {
    stream.pending.clear();
    stream.pending_first = 0;
    const BodySource::Status status = stream.source->Pull(size, stream.pending);
    for (const SharedSlice& slice : stream.pending) stream.pending_bytes += slice.bytes.size();
    stream.source_ended = status == BodySource::Status::kEnd;
    if (stream.pending_bytes == 0 && !stream.source_ended) {
      if (status == BodySource::Status::kMore) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      stream.waiting = true;
      return NGHTTP2_ERR_DEFERRED;
    }
  }
  const std::size_t sending = std::min(size, stream.pending_bytes);
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (sending == stream.pending_bytes && stream.source_ended) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return static_cast<ssize_t>(sending);
}

int H2Server::Session::SendData(nghttp2_session*, nghttp2_frame*, const std::uint8_t* frame_header,
                                std::size_t size, nghttp2_data_source* source, void* user) {
  auto& self = *static_cast<Session*>(user);
  if (self.out_ == nullptr || self.out_->size() >= self.out_limit_) return NGHTTP2_ERR_WOULDBLOCK;
  auto& stream = *static_cast<Stream*>(source->ptr);
  if (size > 0) {
    self.idle_frames_ = 0;
    self.idle_bytes_ = 0;
  }
  self.out_->AddBytes(View(frame_header, 9));
  while (size > 0) {
    SharedSlice& slice = stream.pending[stream.pending_first];
    const std::size_t taken = std::min(size, slice.bytes.size());
    if (taken == slice.bytes.size()) {
      self.out_->AddSlice(std::move(slice));
      ++stream.pending_first;
    } else {
      self.out_->AddSlice({slice.owner, slice.bytes.substr(0, taken)});
      slice.bytes.remove_prefix(taken);
    }
    size -= taken;
    stream.pending_bytes -= taken;
  }
  if (stream.pending_bytes == 0) {
    // Room for a small message stays.
    if (stream.pending.capacity() > kKeptSlices) {
      SliceList().swap(stream.pending);
    } else {
      stream.pending.clear();
    }
    stream.pending_first = 0;
  }
  return 0;
}

int H2Server::Session::OnFrameSent(nghttp2_session* session, const nghttp2_frame* frame,
                                   void* /*user*/) {
  const bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
                    (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  // Answered before the whole request was there: the peer may stop sending it.
  if (ends && nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0) {
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
  }
  return 0;
}

void H2Server::Session::Prefetch() const {
  // Some 2 KiB, of which sending reads the queues and windows here and there.
  constexpr std::size_t kEngineBytes = 2048;
  core::Prefetch(session_, kEngineBytes);
}

Result<> H2Server::Session::TakeOutput(std::size_t max, OutputPieces& out) {
  if (failed_) return Fail(ErrorCode::kClosed, "HTTP/2: the session has ended");
  // Resuming calls nobody back, so nothing is woken meanwhile.
  for (const std::int32_t id : woken_) {
    Stream* stream = Find(id);
    if (stream == nullptr) continue;
    stream->woken = false;
    if (!std::exchange(stream->waiting, false)) continue;
    nghttp2_session_resume_data(session_, id);
  }
  woken_.clear();
  out_ = &out;
  out_limit_ = max;
  ssize_t taken = 0;
  while (out.size() < max) {
    const std::uint8_t* data = nullptr;
    taken = nghttp2_session_mem_send(session_, &data);
    if (taken <= 0) break;
    out.AddBytes(View(data, static_cast<std::size_t>(taken)));
  }
  out_ = nullptr;
  if (taken < 0) {
    failed_ = true;
    return std::unexpected<Error>(EngineError(taken));
  }
  return {};
}

}  // namespace ringscale::core::http
