// Answers on their way out: heads, bodies pulled as the peer takes them.
#include <algorithm>
#include <utility>

#include "core/http/h2_session.h"

namespace ringscale::core::http {
namespace {

constexpr std::size_t kKeptSlices = 4;

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
  self.out_->AddBytes(AsText(Bytes(frame_header, 9)));
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
    out.AddBytes(AsText(Bytes(data, static_cast<std::size_t>(taken))));
  }
  out_ = nullptr;
  if (taken < 0) {
    failed_ = true;
    return std::unexpected<Error>(EngineError(taken));
  }
  return {};
}

}  // namespace ringscale::core::http
