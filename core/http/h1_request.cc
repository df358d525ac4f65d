#include "core/http/h1_request.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace ringscale::core::http {
namespace {

constexpr std::size_t kMaxMethod = 32;
constexpr std::size_t kMaxChunkLine = 64;
// A promised body gets its memory as it arrives, not when it is announced.
constexpr std::uint64_t kFirstReserve = 16 * 1024;
// Size lines and trailers of all chunks: stops a body of one-byte chunks.
constexpr std::size_t kMaxChunkOverhead = 16 * 1024;

std::unexpected<HttpError> Refuse(int status, std::string text) {
  return std::unexpected<HttpError>(HttpError{status, std::move(text)});
}

bool IsTargetChar(char c) {
  return c > 0x20 && c < 0x7f;
}

bool IsValueChar(char c) {
  const auto u = static_cast<unsigned char>(c);
  return u == '\t' || (u >= 0x20 && u != 0x7f);
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string PercentDecode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (text.size() - i < 3) return {};
      const int high = HexValue(text[i + 1]);
      const int low = HexValue(text[i + 2]);
      if (high < 0 || low < 0) return {};
      out += static_cast<char>(high << 4 | low);
      i += 2;
    } else {
      out += plus_is_space && text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

std::string QueryValue(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    const std::size_t equals = std::min(pair.find('='), pair.size());
    if (PercentDecode(pair.substr(0, equals), true) == name) {
      return equals < pair.size() ? PercentDecode(pair.substr(equals + 1), true) : std::string();
    }
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return {};
}

void RequestParser::Reset() {
  state_ = State::kHead;
  head_.clear();
  request_ = HttpRequest();
  body_limit_ = 0;
  content_length_ = 0;
  remaining_ = 0;
  overhead_ = 0;
  chunked_ = false;
  expect_continue_ = false;
}

std::expected<RequestParser::Status, HttpError> RequestParser::Feed(Bytes& bytes) {
  while (true) {
    Step step = Status::kNeedMore;
    const State before = state_;
    switch (state_) {
      case State::kHead:
        step = FeedHead(bytes);
        break;
      case State::kBodyStart:
        step = StartBody();
        break;
      case State::kBody:
        step = FeedBody(bytes);
        break;
      case State::kChunkSize:
      case State::kChunkEnd:
      case State::kTrailers:
        step = FeedChunkLine(bytes);
        break;
      case State::kChunkData:
        step = FeedChunkData(bytes);
        break;
      case State::kComplete:
        return Status::kComplete;
      case State::kFailed:
        return Refuse(400, "the request before was malformed");
    }
    if (!step) {
      state_ = State::kFailed;
      return step;
    }
    if (*step != Status::kNeedMore) return step;
    if (state_ == before && (bytes.empty() || state_ == State::kHead)) return Status::kNeedMore;
  }
}

RequestParser::Step RequestParser::FeedHead(Bytes& bytes) {
  // An empty line before the request is left over by some clients (RFC 9112
  // section 2.2).
  while (head_.empty() && !bytes.empty() && (bytes.front() == '\r' || bytes.front() == '\n')) {
    if (++overhead_ > 4) return Refuse(400, "empty lines instead of a request");
    bytes = bytes.subspan(1);
  }
  if (bytes.empty()) return Status::kNeedMore;
  const std::size_t scan_from = head_.size() < 3 ? 0 : head_.size() - 3;
  const std::size_t had = head_.size();
  const std::size_t room = limits_.head_bytes - had;
  const std::size_t taken = std::min(room, bytes.size());
  head_.append(AsText(bytes.first(taken)));
  if (!IsToken(std::string_view(head_).substr(0, 1))) {
    return Refuse(400, "this is not an HTTP request");
  }
  const std::size_t end = head_.find("\r\n\r\n", scan_from);
  if (end == std::string::npos) {
    bytes = bytes.subspan(taken);
    if (head_.size() >= limits_.head_bytes) {
      return Refuse(431, "the request's header fields are larger than " +
                             std::to_string(limits_.head_bytes) + " bytes");
    }
    return Status::kNeedMore;
  }
  bytes = bytes.subspan(end + 4 - had);
  const std::string head = std::exchange(head_, {}).substr(0, end);
  overhead_ = 0;
  if (auto parsed = ParseHead(head); !parsed) {
    return std::unexpected<HttpError>(std::move(parsed.error()));
  }
  state_ = State::kBodyStart;
  return Status::kHead;
}

std::expected<void, HttpError> RequestParser::ParseHead(std::string_view head) {
  const std::size_t line_end = std::min(head.find("\r\n"), head.size());
  if (auto line = ParseRequestLine(head.substr(0, line_end)); !line) return line;
  head.remove_prefix(std::min(line_end + 2, head.size()));
  while (!head.empty()) {
    const std::size_t end = std::min(head.find("\r\n"), head.size());
    if (request_.headers.size() >= limits_.header_count) {
      return Refuse(431, "more than " + std::to_string(limits_.header_count) + " header fields");
    }
    if (auto line = ParseHeaderLine(head.substr(0, end)); !line) return line;
    head.remove_prefix(std::min(end + 2, head.size()));
  }
  return InterpretHeaders();
}

std::expected<void, HttpError> RequestParser::ParseRequestLine(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return Refuse(400, "malformed request line");
  }
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!IsToken(method) || method.size() > kMaxMethod) return Refuse(400, "malformed method");
  if (version.size() != 8 || !version.starts_with("HTTP/")) {
    return Refuse(400, "malformed HTTP version");
  }
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return Refuse(505, "make the request over HTTP/1.1");
  }
  if (target.empty() || !std::ranges::all_of(target, IsTargetChar)) {
    return Refuse(400, "malformed request target");
  }
  request_.method = method;
  request_.target = target;
  request_.http10 = version == "HTTP/1.0";

  std::string_view path = target;
  if (method == "CONNECT") return Refuse(405, "CONNECT is not offered here");
  if (path.starts_with("http://") || path.starts_with("https://")) {
    const std::size_t authority = path.find("//") + 2;
    const std::size_t slash = path.find_first_of("/?", authority);
    path = slash == std::string_view::npos ? std::string_view("/") : path.substr(slash);
  }
  if (path.find('#') != std::string_view::npos) return Refuse(400, "malformed request target");
  const std::size_t question = std::min(path.find('?'), path.size());
  request_.path = path.substr(0, question);
  if (question < path.size()) request_.query = path.substr(question + 1);
  if (request_.path.empty()) request_.path = "/";
  if (request_.path.front() != '/' && !(method == "OPTIONS" && target == "*")) {
    return Refuse(400, "malformed request target");
  }
  return {};
}

std::expected<void, HttpError> RequestParser::ParseHeaderLine(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || !IsToken(line.substr(0, colon))) {
    return Refuse(400, "malformed header field");
  }
  const std::string_view value = TrimOws(line.substr(colon + 1));
  if (!std::ranges::all_of(value, IsValueChar)) return Refuse(400, "malformed header value");
  Header header{std::string(line.substr(0, colon)), std::string(value)};
  LowerAscii(header.name);
  request_.headers.push_back(std::move(header));
  return {};
}

std::expected<void, HttpError> RequestParser::InterpretHeaders() {
  const auto count = [&](std::string_view name) {
    return std::ranges::count_if(request_.headers, [&](const Header& h) { return h.name == name; });
  };
  const auto hosts = count("host");
  if (hosts > 1 || (hosts == 0 && !request_.http10)) {
    return Refuse(400, "exactly one Host header field is needed");
  }
  if (hosts == 1 && !request_.host().empty() && !IsValidHost(request_.host())) {
    return Refuse(400, "malformed Host header field");
  }

  const auto lengths = count("content-length");
  const auto encodings = count("transfer-encoding");
  if (lengths > 1 || encodings > 1 || (lengths > 0 && encodings > 0)) {
    return Refuse(400, "conflicting message lengths");
  }
  if (encodings == 1) {
    if (request_.http10) return Refuse(400, "Transfer-Encoding is not part of HTTP/1.0");
    if (!EqualsIgnoreCase(request_.header("transfer-encoding"), "chunked")) {
      return Refuse(501, "the only transfer encoding here is chunked");
    }
    chunked_ = true;
  }
  if (lengths == 1) {
    const std::string_view text = request_.header("content-length");
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), content_length_);
    // from_chars takes no sign for unsigned types; leading zeros are harmless.
    if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
      return Refuse(400, "malformed Content-Length");
    }
  }
  if (const std::string_view expect = request_.header("expect"); !expect.empty()) {
    if (!EqualsIgnoreCase(expect, "100-continue")) return Refuse(417, "unknown expectation");
    expect_continue_ = !request_.http10;
  }
  request_.keep_alive = request_.http10
                            ? HeaderListHas(request_.headers, "connection", "keep-alive")
                            : !HeaderListHas(request_.headers, "connection", "close");
  return {};
}

RequestParser::Step RequestParser::StartBody() {
  if (chunked_) {
    state_ = State::kChunkSize;
    return Status::kNeedMore;
  }
  if (content_length_ > body_limit_) {
    return Refuse(413,
                  "a body of at most " + std::to_string(body_limit_) + " bytes is accepted here");
  }
  remaining_ = content_length_;
  request_.body.reserve(
      static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, kFirstReserve)));
  state_ = remaining_ > 0 ? State::kBody : State::kComplete;
  return Status::kNeedMore;
}

RequestParser::Step RequestParser::FeedBody(Bytes& bytes) {
  const std::size_t taken =
      static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, bytes.size()));
  request_.body.append(AsText(bytes.first(taken)));
  bytes = bytes.subspan(taken);
  remaining_ -= taken;
  if (remaining_ == 0) state_ = State::kComplete;
  return Status::kNeedMore;
}

// A chunk size, the line end after a chunk, or a trailer field: one line each.
RequestParser::Step RequestParser::FeedChunkLine(Bytes& bytes) {
  while (!bytes.empty()) {
    const char c = static_cast<char>(bytes.front());
    bytes = bytes.subspan(1);
    if (++overhead_ > kMaxChunkOverhead || head_.size() > kMaxChunkLine) {
      return Refuse(400, "chunk sizes or trailers are too long");
    }
    if (c != '\n') {
      head_ += c;
      continue;
    }
    if (head_.empty() || head_.back() != '\r') return Refuse(400, "malformed chunk");
    head_.pop_back();
    const std::string line = std::exchange(head_, {});
    if (state_ == State::kChunkEnd) {
      if (!line.empty()) return Refuse(400, "malformed chunk");
      state_ = State::kChunkSize;
    } else if (state_ == State::kTrailers) {
      if (line.empty()) state_ = State::kComplete;
    } else {
      // Extensions are ignored, as RFC 9112 section 7.1.1 asks.
      const std::string_view size = std::string_view(line).substr(0, line.find(';'));
      const auto [end, error] =
          std::from_chars(size.data(), size.data() + size.size(), remaining_, 16);
      if (size.empty() || error != std::errc() || end != size.data() + size.size()) {
        return Refuse(400, "malformed chunk size");
      }
      if (remaining_ > body_limit_ - std::min(body_limit_, request_.body.size())) {
        return Refuse(
            413, "a body of at most " + std::to_string(body_limit_) + " bytes is accepted here");
      }
      state_ = remaining_ > 0 ? State::kChunkData : State::kTrailers;
    }
    return Status::kNeedMore;
  }
  return Status::kNeedMore;
}

RequestParser::Step RequestParser::FeedChunkData(Bytes& bytes) {
  const std::size_t taken =
      static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, bytes.size()));
  request_.body.append(AsText(bytes.first(taken)));
  bytes = bytes.subspan(taken);
  remaining_ -= taken;
  if (remaining_ == 0) state_ = State::kChunkEnd;
  return Status::kNeedMore;
}

}  // namespace ringscale::core::http
