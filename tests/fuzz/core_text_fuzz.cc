// The small text parsers of core: addresses, times, encodings, forwarded headers.
// Whatever parses must print to something that parses to the same value.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/base64.h"
#include "core/base/hex.h"
#include "core/base/time.h"
#include "core/engine/topology.h"
#include "core/net/address.h"
#include "core/net/listener.h"
#include "core/net/trusted_proxies.h"
#include "core/obs/log_line.h"
#include "tests/fuzz/accepted.h"
#include "tests/fuzz/require.h"

namespace {

using namespace ringscale::core;
using ringscale::fuzz::Require;

template <class Value>
void CheckRoundTrip(std::string_view text) {
  const auto value = Value::Parse(text);
  if (!value) return;
  Require(Value::Parse(value->text()) == value);
  ringscale::fuzz::Accepted();
}

void CheckOrigin(std::string_view text) {
  static const net::TrustedProxies proxies =
      *net::TrustedProxies::Parse(std::vector<std::string>{"127.0.0.0/8", "10.0.0.0/8"});
  net::RequestOrigin request;
  request.peer = {IpAddress::V4(0x7f000001), 1};
  request.forwarded_for = text;
  request.forwarded_proto = text;
  const net::ClientOrigin origin = net::ResolveOrigin(proxies, request);
  Require(origin.address.ip.valid());
  Require(!origin.local || origin.address.ip.is_loopback());
  request.peer.ip = IpAddress::V4(0x08080808);
  Require(!net::ResolveOrigin(proxies, request).local);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  CheckRoundTrip<IpAddress>(text);
  CheckRoundTrip<IpPrefix>(text);
  CheckRoundTrip<SocketAddress>(text);
  if (const auto time = ParseRfc3339(text)) Require(ParseRfc3339(FormatRfc3339(*time)) == time);
  (void)IsGoZeroTime(text);
  if (const auto bytes = HexDecode(text)) Require(HexEncode(*bytes).size() == text.size());
  if (const auto bytes = Base64Decode(text)) Require(Base64Encode(*bytes) == text);
  if (const auto bytes = Base64UrlDecode(text)) Require(Base64UrlEncode(*bytes) == text);
  (void)net::ParseListenAddress(text);
  (void)engine::ParseCpuMax(text);
  CheckOrigin(text);
  for (const LogFormat format : {LogFormat::kText, LogFormat::kJson}) {
    const std::string line =
        internal::FormatLogLine(format, {}, LogLevel::kInfo, "fuzz", text, {{"value", text}});
    Require(line.find('\n') == line.size() - 1);
  }
  return 0;
}
