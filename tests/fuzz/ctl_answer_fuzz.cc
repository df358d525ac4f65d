// What a server answers to a command: any bytes as an HTTP answer, and a JSON document
// that commands print. An error with words in it, or what prints as it was read.
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/fd.h"
#include "core/json/reader.h"
#include "tests/fuzz/accepted.h"
#include "tests/fuzz/require.h"
#include "tools/ctl/http.h"
#include "tools/ctl/render.h"
#include "tools/ctl/value.h"

namespace {

using ringscale::fuzz::Require;

using namespace ringscale;

core::Result<ctl::HttpResponse> Read(std::string_view answer, const ctl::BodySink& sink) {
  int ends[2];
  Require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const core::Fd ours(ends[0]);
  core::Fd theirs(ends[1]);
  // Fits into the socket's buffer: nobody reads yet.
  Require(::send(theirs.get(), answer.data(), answer.size(), MSG_DONTWAIT) ==
          static_cast<ssize_t>(answer.size()));
  theirs.Reset();
  return ctl::ReadAnswer(ours.get(), core::Seconds(1), sink);
}

void Print(std::string_view json) {
  const auto value = ctl::Value::Parse(json);
  if (!value) {
    Require(!value.error().message.empty());
    return;
  }
  const std::string text = ctl::CompactJson(*value);
  const auto again = ctl::Value::Parse(text);
  Require(again.has_value() && ctl::CompactJson(*again) == text);
  Require(ctl::Value::Parse(ctl::Render(*value, ctl::Format::kJson)).has_value());
  (void)ctl::Render(*value, ctl::Format::kYaml);
  fuzz::Accepted();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view answer = core::AsText({data, size});
  const auto response = Read(answer, nullptr);
  std::string streamed;
  const auto download = Read(answer, [&](std::string_view piece) -> core::Result<> {
    streamed += piece;
    return {};
  });
  Require(response.has_value() == download.has_value());
  if (!response) {
    Require(!response.error().message.empty());
  } else {
    const bool good = response->status >= 200 && response->status < 300;
    Require((good ? streamed : download->body) == response->body);
    Print(response->body);
  }
  Print(answer);
  return 0;
}
