// HTTP/1.1 requests: whatever the pieces, the parser comes to the same end.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "core/http/h1_request.h"
#include "tests/fuzz/accepted.h"

namespace {

using ringscale::core::AsBytes;
using ringscale::core::AsText;
using ringscale::core::Bytes;
using ringscale::core::http::IsValidHost;
using ringscale::core::http::RequestParser;

// Everything that a parse says, as text.
std::string Outcome(std::string_view input, std::size_t step, std::size_t body_limit) {
  RequestParser parser;
  std::string outcome;
  Bytes pending;
  for (int requests = 0; requests < 16;) {
    if (pending.empty()) {
      if (input.empty()) break;
      pending = AsBytes(input.substr(0, step));
      input.remove_prefix(pending.size());
    }
    const auto status = parser.Feed(pending);
    if (!status) return outcome + "error " + std::to_string(status.error().status);
    if (*status == RequestParser::Status::kHead) {
      const auto& request = parser.request();
      if (!request.host().empty() && !IsValidHost(request.host())) std::abort();
      outcome += request.method + " " + request.path + "?" + request.query + "\n";
      for (const auto& header : request.headers) outcome += header.name + ":" + header.value + "\n";
      parser.SetBodyLimit(body_limit);
      // A request without a body is complete without further bytes.
      if (pending.empty()) {
        Bytes none;
        const auto next = parser.Feed(none);
        if (!next) return outcome + "error " + std::to_string(next.error().status);
        if (*next == RequestParser::Status::kComplete) {
          outcome += "complete\n";
          parser.Reset();
          ++requests;
        }
      }
    } else if (*status == RequestParser::Status::kComplete) {
      if (parser.request().body.size() > body_limit) std::abort();
      outcome += parser.request().body + "complete\n";
      parser.Reset();
      ++requests;
    } else if (!pending.empty()) {
      std::abort();  // wants more and leaves bytes
    }
  }
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t step = data[0] % 64 + 1;
  const std::size_t body_limit = data[1] * std::size_t{4};
  const std::string_view input = AsText(Bytes(data + 2, size - 2));
  const std::string outcome = Outcome(input, step, body_limit);
  if (outcome != Outcome(input, SIZE_MAX, body_limit)) std::abort();
  if (outcome.find("complete\n") != std::string::npos) ringscale::fuzz::Accepted();
  return 0;
}
