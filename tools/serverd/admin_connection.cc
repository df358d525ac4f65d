#include "tools/serverd/admin_connection.h"

#include <charconv>
#include <utility>

#include "control/api/problem.h"
#include "core/obs/log.h"

namespace ringscale::serverd {
namespace {

constexpr std::size_t kPiece = 64 * 1024;
// More than clients have under way when a pause takes effect.
constexpr std::size_t kMaxPending = 1024 * 1024;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

std::string ChunkHead(std::size_t size) {
  char digits[16];
  const auto end = std::to_chars(digits, digits + sizeof digits, size, 16).ptr;
  return std::string(digits, end) + "\r\n";
}

}  // namespace

AdminConnection::AdminConnection(AdminSocket& owner, std::uint64_t id,
                                 const core::net::PeerCredentials& peer)
    : owner_(&owner), loop_(owner.loop_), limits_(owner.limits_), id_(id), peer_(peer) {}

AdminConnection::~AdminConnection() = default;

void AdminConnection::Start(core::Fd fd) {
  stream_ = loop_.Attach(std::move(fd), *this);
  Arm(limits_.request);
}

void AdminConnection::Abandon() {
  owner_ = nullptr;
  Close();
}

void AdminConnection::Close() {
  loop_.CancelTimer(std::exchange(timer_, {}));
  if (stream_.value != 0) loop_.Close(std::exchange(stream_, {}));
  state_ = State::kClosing;
  upload_.reset();
  if (body_) body_->OnAborted();
  body_.reset();
  if (AdminSocket* owner = std::exchange(owner_, nullptr)) owner->Remove(id_);
}

void AdminConnection::Arm(core::Duration limit) {
  loop_.CancelTimer(std::exchange(timer_, {}));
  timer_ = loop_.After(limit, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) {
      self->timer_ = {};
      self->Close();
    }
  });
}

void AdminConnection::OnClosed(core::engine::StreamId, int) {
  const auto self = shared_from_this();
  stream_ = {};
  Close();
}

void AdminConnection::OnReceive(core::engine::StreamId, core::MutableBytes bytes) {
  const auto self = shared_from_this();
  if (state_ == State::kRequest && pending_.empty()) {
    Process(bytes);
  } else if (pending_.size() + bytes.size() > kMaxPending) {
    Close();
  } else {
    // Received before the pause took effect, or before its turn.
    pending_.append(core::AsText(bytes));
  }
}

void AdminConnection::Process(core::Bytes bytes) {
  while (state_ == State::kRequest) {
    const auto status = parser_.Feed(bytes);
    if (!status) {
      Refuse(status.error());
      break;
    }
    if (*status == core::http::RequestParser::Status::kHead) {
      OnHead();
      continue;
    }
    if (upload_ && !OnUploadProgress()) break;
    if (*status == core::http::RequestParser::Status::kNeedMore) break;
    OnRequest(bytes);
    break;
  }
}

void AdminConnection::OnHead() {
  const core::http::HttpRequest& request = parser_.request();
  method_ = request.method;
  path_ = request.path;
  keep_alive_ = request.keep_alive;
  if (request.http10) {
    Refuse(core::http::HttpError{505, "make the request over HTTP/1.1"});
    return;
  }
  route_ = owner_->Find(method_, path_);
  parser_.SetBodyLimit(limits_.body);
  if (route_->upload) {
    parser_.SetBodyLimit(SIZE_MAX);
    upload_ = route_->upload({request.method, request.path, request.query, ""});
  }
  if (parser_.wants_continue() && parser_.has_body()) {
    loop_.Send(stream_, std::string(kContinue));
  }
}

bool AdminConnection::OnUploadProgress() {
  std::string& body = parser_.request().body;
  if (body.empty()) return true;
  const auto written = upload_->Write(body);
  body.clear();
  if (!written) {
    Refuse(written.error());
    return false;
  }
  Arm(limits_.request);
  return true;
}

control::AdminRequest AdminConnection::TakeRequest() {
  core::http::HttpRequest& request = parser_.request();
  return {request.method, request.path, request.query, std::move(request.body)};
}

// Answers once; a handler that drops it unused has failed.
class AdminConnection::Answer {
 public:
  explicit Answer(std::weak_ptr<AdminConnection> connection) : connection_(std::move(connection)) {}
  Answer(Answer&&) = default;
  Answer& operator=(Answer&&) = delete;
  ~Answer() {
    if (!connection_.expired()) (*this)(control::Problem(500, "the command was not finished"));
  }
  void operator()(control::AdminResponse response) {
    const auto connection = std::exchange(connection_, {}).lock();
    if (connection) connection->Respond(std::move(response));
  }

 private:
  std::weak_ptr<AdminConnection> connection_;
};

control::AdminRespond AdminConnection::Responder() {
  return Answer(weak_from_this());
}

void AdminConnection::OnRequest(core::Bytes rest) {
  state_ = State::kHandling;
  // The next request waits, and how long this one takes is the handler's business.
  loop_.CancelTimer(std::exchange(timer_, {}));
  pending_.assign(core::AsText(rest));
  loop_.PauseReceive(stream_);
  if (route_->take_over) {
    auto fd = loop_.Detach(stream_);
    if (!fd) {
      Refuse(fd.error());
      return;
    }
    stream_ = {};
    control::AdminRequest request = TakeRequest();
    Log(101);
    const AdminSocket::TakeOver& take_over = route_->take_over;
    take_over(std::move(*fd), peer_, std::move(request));
    Close();
    return;
  }
  if (upload_) {
    const std::unique_ptr<UploadSink> upload = std::move(upload_);
    upload->Finish(Responder());
    return;
  }
  route_->handle(TakeRequest(), Responder());
}

void AdminConnection::Respond(control::AdminResponse response) {
  if (state_ != State::kHandling || stream_.value == 0) return;
  Log(response.status);
  Arm(limits_.send);
  if (response.stream) {
    SendStreamHead(response);
    state_ = State::kStreaming;
    body_ = response.stream(*this);
    Pump();
    return;
  }
  core::http::HttpResponse http;
  http.status = response.status;
  http.content_type = std::move(response.content_type);
  http.body = std::move(response.body);
  loop_.Send(stream_, core::http::Serialize(http, {.head_request = method_ == "HEAD",
                                                   .keep_alive = keep_alive_,
                                                   .http10 = false}));
  NextRequest();
}

// What was wrong with the request itself: the connection's state is lost.
void AdminConnection::Refuse(const core::http::HttpError& error) {
  keep_alive_ = false;
  state_ = State::kHandling;
  loop_.PauseReceive(stream_);
  Respond(control::Problem(error.status, error.text));
}

void AdminConnection::Refuse(const core::Error& error) {
  Refuse(core::http::HttpError{control::HttpStatusOf(error.code), error.message});
}

void AdminConnection::SendStreamHead(const control::AdminResponse& response) {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " " +
                     std::string(core::http::StatusText(response.status)) +
                     "\r\nContent-Type: " + response.content_type +
                     "\r\nTransfer-Encoding: chunked\r\n";
  if (!keep_alive_) head += "Connection: close\r\n";
  loop_.Send(stream_, head + "\r\n");
}

void AdminConnection::Pump() {
  if (pumping_) return;
  pumping_ = true;
  while (body_ && loop_.QueuedBytes(stream_) < limits_.send_high_water) {
    core::SliceList slices;
    const auto status = body_->Pull(kPiece, slices);
    std::size_t size = 0;
    for (const core::SharedSlice& slice : slices) size += slice.bytes.size();
    if (size > 0) {
      loop_.Send(stream_, ChunkHead(size));
      for (core::SharedSlice& slice : slices) loop_.Send(stream_, std::move(slice));
      loop_.Send(stream_, std::string("\r\n"));
    }
    if (status == core::http::BodySource::Status::kEnd) {
      const bool failed = body_->failed();
      body_.reset();
      if (failed) {
        pumping_ = false;
        Close();  // without the last chunk: the client sees that it is not complete
        return;
      }
      loop_.Send(stream_, std::string("0\r\n\r\n"));
      pumping_ = false;
      NextRequest();
      return;
    }
    if (status == core::http::BodySource::Status::kWait && !std::exchange(woken_, false)) break;
  }
  pumping_ = false;
}

void AdminConnection::Wake() {
  const auto self = shared_from_this();
  if (state_ != State::kStreaming) return;
  woken_ = true;
  if (pumping_) return;
  woken_ = false;
  Pump();
}

void AdminConnection::OnSent(core::engine::StreamId) {
  const auto self = shared_from_this();
  if (state_ != State::kStreaming) return;
  Arm(limits_.send);
  Pump();
}

void AdminConnection::NextRequest() {
  if (!keep_alive_) {
    loop_.CancelTimer(std::exchange(timer_, {}));
    loop_.CloseAfterFlush(std::exchange(stream_, {}), limits_.send);
    Close();
    return;
  }
  state_ = State::kRequest;
  route_ = nullptr;
  method_.clear();
  path_.clear();
  parser_.Reset();
  Arm(limits_.idle);
  loop_.ResumeReceive(stream_);
  if (pending_.empty()) return;
  // Not from here: a pipeline of requests answered at once would nest.
  const bool posted = loop_.Post([weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || self->state_ != State::kRequest) return;
    const std::string bytes = std::exchange(self->pending_, {});
    self->Process(core::AsBytes(bytes));
  });
  if (!posted) Close();
}

void AdminConnection::Log(int status) const {
  // Questions are asked by monitoring every few seconds; changes and backups are
  // what one looks for later.
  const bool question = method_ == "GET" && path_.starts_with("/api/");
  const auto level = question ? core::LogLevel::kDebug : core::LogLevel::kInfo;
  if (!core::LogEnabled(level)) return;
  core::Log(level, "admin", "command",
            {{"method", method_},
             {"path", path_.substr(0, 200)},
             {"status", status},
             {"uid", peer_.uid},
             {"gid", peer_.gid},
             {"pid", peer_.pid}});
}

}  // namespace ringscale::serverd
