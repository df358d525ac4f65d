// Answers on their way out: heads, bodies pulled as the peer takes them.
#include <algorithm>
#include <array>
#include <utility>

#include "core/http/h2_session.h"

namespace ringscale::core::http {
namespace {

constexpr std::size_t kFrameHeader = 9;      // RFC 9113 section 4.1
constexpr std::size_t kFrameMax = 16 << 10;  // what every peer takes, section 4.2

nghttp2_nv Field(std::string_view name, std::string_view value) {
  // nghttp2 copies both (no NO_COPY flags), so it does not write to them.
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(),
          value.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

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
  if (nghttp2_submit_response(Engine(), stream.id, fields.data(), fields.size(),
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

BodySource::Status H2Server::Session::Pull(Stream& stream, std::size_t limit) {
  stream.pending.clear();
  stream.pending_first = 0;
  const BodySource::Status status = stream.source->Pull(limit, stream.pending);
  for (const SharedSlice& slice : stream.pending) stream.pending_bytes += slice.bytes.size();
  stream.source_ended = status == BodySource::Status::kEnd;
  return status;
}

ssize_t H2Server::Session::ReadBody(nghttp2_session*, std::int32_t /*stream_id*/,
                                    std::uint8_t* /*buffer*/, std::size_t size,
                                    std::uint32_t* flags, nghttp2_data_source* source, void* user) {
  auto& stream = *static_cast<Stream*>(source->ptr);
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (static_cast<Session*>(user)->settling_) {
    if (stream.owed == 0) return NGHTTP2_ERR_DEFERRED;
    return static_cast<ssize_t>(std::min(size, stream.owed));
  }
  if (stream.pending_bytes == 0 && !stream.source_ended) {
    const BodySource::Status status = stream.session.Pull(stream, size);
    if (stream.pending_bytes == 0 && !stream.source_ended) {
      if (status == BodySource::Status::kMore) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
      stream.waiting = true;
      return NGHTTP2_ERR_DEFERRED;
    }
  }
  const std::size_t sending = std::min(size, stream.pending_bytes);
  if (sending == stream.pending_bytes && stream.source_ended) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return static_cast<ssize_t>(sending);
}

int H2Server::Session::SendData(nghttp2_session*, nghttp2_frame*, const std::uint8_t* frame_header,
                                std::size_t size, nghttp2_data_source* source, void* user) {
  auto& self = *static_cast<Session*>(user);
  auto& stream = *static_cast<Stream*>(source->ptr);
  if (self.settling_) {
    stream.owed -= size;
    self.owed_ -= size;
    return 0;
  }
  if (self.out_ == nullptr || self.out_->size() >= self.out_limit_) return NGHTTP2_ERR_WOULDBLOCK;
  self.AddFrame(stream, AsText(Bytes(frame_header, kFrameHeader)), size);
  if (stream.pending.empty()) SliceList().swap(stream.pending);
  return 0;
}

// `size` of the pending bytes.
void H2Server::Session::AddFrame(Stream& stream, std::string_view header, std::size_t size) {
  if (size > 0) {
    idle_frames_ = 0;
    idle_bytes_ = 0;
  }
  out_->AddBytes(header);
  while (size > 0) {
    SharedSlice& slice = stream.pending[stream.pending_first];
    const std::size_t taken = std::min(size, slice.bytes.size());
    if (taken == slice.bytes.size()) {
      out_->AddSlice(std::move(slice));
      ++stream.pending_first;
    } else {
      out_->AddSlice({slice.owner, slice.bytes.substr(0, taken)});
      slice.bytes.remove_prefix(taken);
    }
    size -= taken;
    stream.pending_bytes -= taken;
  }
  if (stream.pending_bytes == 0) {
    stream.pending.clear();
    stream.pending_first = 0;
  }
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

// --- past the engine ---
//
// A body that waits (a map stream between two messages) is a deferred item in nghttp2.
// Telling thousands of such streams one small message each would walk through as many
// engines that are in no cache, for a frame of nine bytes. While the engine is idle the
// frame is made here instead. nghttp2 must count it in its flow-control windows, so
// what was sent past it is owed; before the engine is used for anything else, and thus
// before it could notice, Settle lets it send frames of as many bytes that are not put
// out.

nghttp2_session* H2Server::Session::Engine() {
  Settle();
  idle_ = false;
  ++engine_used_;
  return session_;
}

void H2Server::Session::Settle() {
  if (owed_ == 0) return;
  settling_ = true;
  for (const auto& stream : streams_) {
    if (stream->owed > 0) nghttp2_session_resume_data(session_, stream->id);
  }
  // The engine was idle: nothing but these frames comes, and none of them has bytes.
  const std::uint8_t* data = nullptr;
  const ssize_t taken = nghttp2_session_mem_send(session_, &data);
  settling_ = false;
  if (taken != 0 || owed_ != 0) failed_ = true;
}

std::size_t H2Server::Session::Window(Stream& stream) {
  if (window_at_ != engine_used_) {
    window_at_ = engine_used_;
    window_ = static_cast<std::size_t>(nghttp2_session_get_remote_window_size(session_));
  }
  if (stream.window_at != engine_used_) {
    stream.window_at = engine_used_;
    stream.window = static_cast<std::size_t>(
        nghttp2_session_get_stream_remote_window_size(session_, stream.id));
  }
  return std::min(window_ - std::min(window_, owed_),
                  stream.window - std::min(stream.window, stream.owed));
}

void H2Server::Session::SendDirect(Stream& stream) {
  while (out_->size() < out_limit_) {
    const std::size_t size = std::min(Window(stream), kFrameMax);
    if (size == 0) break;
    // Quiet streams keep no list of their own.
    stream.pending.swap(out_->spare());
    const BodySource::Status status = Pull(stream, size);
    // The source may have made the engine busy, or ended the body.
    if (!idle_ || stream.source_ended) break;
    const std::size_t pulled = stream.pending_bytes;
    if (pulled > 0) {
      std::array<std::uint8_t, kFrameHeader> header{};
      StoreBe24(header.data(), static_cast<std::uint32_t>(pulled));
      header[3] = NGHTTP2_DATA;
      StoreBe32(header.data() + 5, static_cast<std::uint32_t>(stream.id));
      AddFrame(stream, AsText(header), pulled);
      stream.owed += pulled;
      owed_ += pulled;
    }
    stream.pending.swap(out_->spare());
    if (status == BodySource::Status::kWait) return;
    if (pulled == 0) break;
  }
  Resume(stream);
}

void H2Server::Session::Resume(Stream& stream) {
  stream.waiting = false;
  nghttp2_session_resume_data(Engine(), stream.id);
}

Result<> H2Server::Session::RunEngine() {
  while (out_->size() < out_limit_) {
    const std::uint8_t* data = nullptr;
    const ssize_t taken = nghttp2_session_mem_send(session_, &data);
    if (taken < 0) {
      failed_ = true;
      return std::unexpected<Error>(EngineError(taken));
    }
    if (taken == 0) {
      // Also when SendData found no room left.
      idle_ = out_->size() < out_limit_;
      break;
    }
    out_->AddBytes(AsText(Bytes(data, static_cast<std::size_t>(taken))));
  }
  finished_ = EngineFinished();
  return {};
}

Result<> H2Server::Session::TakeOutput(std::size_t max, OutputPieces& out) {
  if (failed_) return Fail(ErrorCode::kClosed, "HTTP/2: the session has ended");
  out_ = &out;
  out_limit_ = max;
  // Sources may wake more meanwhile, which are for the next time.
  taking_ = std::exchange(woken_, nullptr);
  while (taking_ != nullptr) {
    Stream& stream = *taking_;
    taking_ = std::exchange(stream.next_woken, nullptr);
    stream.woken = false;
    if (!stream.waiting) continue;
    if (idle_) {
      SendDirect(stream);
    } else {
      Resume(stream);
    }
  }
  Result<> result;
  if (!idle_) result = RunEngine();
  out_ = nullptr;
  if (result && failed_) result = std::unexpected<Error>(NotSettled());
  return result;
}

}  // namespace ringscale::core::http
