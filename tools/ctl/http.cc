#include "tools/ctl/http.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <optional>
#include <utility>

#include "core/base/fd.h"
#include "core/http/header.h"
#include "core/net/unix_listener.h"

namespace ringscale::ctl {
namespace {

using core::ErrorCode;
using core::Fail;
using core::Result;

constexpr std::size_t kMaxHead = 32 * 1024;
constexpr std::size_t kMaxBody = 64 * 1024 * 1024;

std::string SocketHint(const std::string& path) {
  return "no server answers at " + path +
         ": is `ringscale serve` running? If it uses another data directory or configuration, "
         "say so with --data-dir, --config or --socket";
}

Result<core::Fd> Dial(const HttpOptions& options) {
  const core::Instant deadline = core::MonotonicNow() + options.dial_timeout;
  core::Duration pause = core::Millis(50);
  for (;;) {
    auto fd = core::net::ConnectUnix(options.socket_path);
    if (fd) return fd;
    const ErrorCode code = fd.error().code;
    if (code == ErrorCode::kPermission) {
      return Fail(code, "permission denied on " + options.socket_path +
                            ": run this as the user that runs the server (or as root), or give "
                            "your group access in the server's configuration");
    }
    if (code != ErrorCode::kNotFound && code != ErrorCode::kUnavailable) return fd;
    const core::Duration left = deadline - core::MonotonicNow();
    if (left.ns <= 0) return Fail(ErrorCode::kUnavailable, SocketHint(options.socket_path));
    const core::Duration wait = std::min(pause, left);
    ::poll(nullptr, 0, static_cast<int>(std::max<std::int64_t>(wait.millis(), 1)));
    pause = std::min(pause * 2, core::Seconds(1));
  }
}

Result<> SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      // The server may have answered and closed before it read everything: the
      // answer says more than a broken pipe.
      if (errno == EPIPE || errno == ECONNRESET) return {};
      return core::FailErrno("cannot send to the server", errno);
    }
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

// A connection with what was read of it and not used yet.
class Reader {
 public:
  Reader(int fd, core::Duration silence) : fd_(fd), silence_(silence) {}

  // Reads more; false at the end of the stream.
  Result<bool> Fill() {
    std::array<char, 64 * 1024> chunk;
    for (;;) {
      const ssize_t got = ::recv(fd_, chunk.data(), chunk.size(), 0);
      if (got > 0) {
        buffer_.append(chunk.data(), static_cast<std::size_t>(got));
        return true;
      }
      if (got == 0) return false;
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return Fail(ErrorCode::kTimeout, "the server did not answer within " +
                                             std::to_string(silence_.ns / 1'000'000'000) +
                                             " seconds");
      }
      if (errno == ECONNRESET) return false;
      return core::FailErrno("cannot read from the server", errno);
    }
  }

  [[nodiscard]] std::string_view buffered() const {
    return std::string_view(buffer_).substr(used_);
  }
  void Consume(std::size_t count) {
    used_ += count;
    if (used_ == buffer_.size() || used_ > 256 * 1024) {
      buffer_.erase(0, used_);
      used_ = 0;
    }
  }

  // One line without its CRLF.
  Result<std::string> Line() {
    for (;;) {
      const std::size_t end = buffered().find("\r\n");
      if (end != std::string_view::npos) {
        std::string line(buffered().substr(0, end));
        Consume(end + 2);
        return line;
      }
      if (buffered().size() > kMaxHead) {
        return Fail(ErrorCode::kInvalid, "the server's answer is not HTTP");
      }
      auto more = Fill();
      if (!more) return core::Forward(more);
      if (!*more) {
        return Fail(ErrorCode::kCorrupt, "the server closed the connection without an answer");
      }
    }
  }

  // Passes exactly `count` bytes on.
  Result<> Pass(std::uint64_t count, const BodySink& sink) {
    while (count > 0) {
      if (buffered().empty()) {
        auto more = Fill();
        if (!more) return core::Forward(more);
        if (!*more) return Fail(ErrorCode::kCorrupt, "the server's answer ended early");
      }
      const std::string_view piece = buffered().substr(
          0, static_cast<std::size_t>(std::min<std::uint64_t>(count, buffered().size())));
      if (auto done = sink(piece); !done) return done;
      count -= piece.size();
      Consume(piece.size());
    }
    return {};
  }

 private:
  int fd_;
  core::Duration silence_;
  std::string buffer_;
  std::size_t used_ = 0;
};

struct Head {
  int status = 0;
  std::string content_type;
  std::optional<std::uint64_t> length;
  bool chunked = false;
};

Result<Head> ReadHead(Reader& reader) {
  const auto bad = [] { return Fail(ErrorCode::kInvalid, "the server's answer is not HTTP"); };
  auto status_line = reader.Line();
  if (!status_line) return core::Forward(status_line);
  Head head;
  std::string_view line = *status_line;
  if (!line.starts_with("HTTP/1.1 ") || line.size() < 12) return bad();
  line.remove_prefix(9);
  const std::string_view status = line.substr(0, 3);
  if (std::from_chars(status.begin(), status.end(), head.status).ec != std::errc{}) return bad();
  std::size_t total = 0;
  for (;;) {
    auto field = reader.Line();
    if (!field) return core::Forward(field);
    if (field->empty()) return head;
    total += field->size();
    const std::size_t colon = field->find(':');
    if (colon == std::string::npos || total > kMaxHead) return bad();
    const std::string_view name = std::string_view(*field).substr(0, colon);
    const std::string_view value = core::http::TrimOws(std::string_view(*field).substr(colon + 1));
    if (core::http::EqualsIgnoreCase(name, "content-type")) {
      head.content_type = value;
    } else if (core::http::EqualsIgnoreCase(name, "content-length")) {
      std::uint64_t length = 0;
      const auto parsed = std::from_chars(value.data(), value.data() + value.size(), length);
      if (parsed.ec != std::errc{} || parsed.ptr != value.data() + value.size()) return bad();
      head.length = length;
    } else if (core::http::EqualsIgnoreCase(name, "transfer-encoding")) {
      if (!core::http::EqualsIgnoreCase(value, "chunked")) return bad();
      head.chunked = true;
    }
  }
}

Result<> ReadChunks(Reader& reader, const BodySink& sink) {
  for (;;) {
    auto line = reader.Line();
    if (!line) return core::Forward(line);
    std::uint64_t size = 0;
    const std::string_view digits = std::string_view(*line).substr(0, line->find(';'));
    const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), size, 16);
    if (parsed.ec != std::errc{} || parsed.ptr != digits.data() + digits.size()) {
      return Fail(ErrorCode::kCorrupt, "the server's answer is damaged");
    }
    if (size == 0) {
      auto trailer = reader.Line();
      while (trailer && !trailer->empty()) trailer = reader.Line();
      if (!trailer) return core::Forward(trailer);
      return {};
    }
    if (auto done = reader.Pass(size, sink); !done) return done;
    auto end = reader.Line();
    if (!end) return core::Forward(end);
    if (!end->empty()) return Fail(ErrorCode::kCorrupt, "the server's answer is damaged");
  }
}

}  // namespace

Result<HttpResponse> Exchange(const HttpOptions& options, const HttpRequest& request,
                              const BodySink& sink) {
  auto fd = Dial(options);
  if (!fd) return core::Forward(fd);
  timeval silence{};
  silence.tv_sec = options.silence_timeout.ns / 1'000'000'000;
  silence.tv_usec = options.silence_timeout.ns % 1'000'000'000 / 1'000;
  ::setsockopt(fd->get(), SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);

  std::string text = request.method + " " + request.target + " HTTP/1.1\r\nHost: local\r\n" +
                     "Connection: close\r\nAccept: application/json\r\n";
  if (!request.body.empty()) text += "Content-Type: application/json\r\n";
  if (!request.body.empty() || request.method != "GET") {
    text += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
  }
  text += "\r\n" + request.body;
  if (auto sent = SendAll(fd->get(), text); !sent) return core::Forward(sent);
  return ReadAnswer(fd->get(), options.silence_timeout, sink);
}

Result<HttpResponse> ReadAnswer(int fd, core::Duration silence, const BodySink& sink) {
  Reader reader(fd, silence);
  auto head = ReadHead(reader);
  if (!head) return core::Forward(head);
  HttpResponse response;
  response.status = head->status;
  response.content_type = head->content_type;

  const bool to_sink = sink && head->status >= 200 && head->status < 300;
  const BodySink keep = [&response](std::string_view piece) -> Result<> {
    if (response.body.size() + piece.size() > kMaxBody) {
      return Fail(ErrorCode::kLimit, "the server's answer is too large");
    }
    response.body += piece;
    return {};
  };
  const BodySink& target = to_sink ? sink : keep;
  if (head->chunked) {
    if (auto done = ReadChunks(reader, target); !done) return core::Forward(done);
  } else if (head->length) {
    if (auto done = reader.Pass(*head->length, target); !done) return core::Forward(done);
  } else if (head->status != 204) {
    return Fail(ErrorCode::kInvalid, "the server's answer has no length");
  }
  return response;
}

Result<HttpResponse> Exchange(const HttpOptions& options, const HttpRequest& request) {
  return Exchange(options, request, nullptr);
}

std::string UrlEncode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 0x0f];
    }
  }
  return out;
}

}  // namespace ringscale::ctl
