// The STUN responder: silent or right.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "relay/stun/responder.h"
#include "tests/fuzz/accepted.h"

namespace {

using namespace ringscale;

void Check(core::Bytes request, const core::SocketAddress& source) {
  std::array<std::uint8_t, relay::kMaxStunReplyBytes> out{};
  const relay::StunReply reply = relay::AnswerStun(request, source, out);
  if (reply.disposition != relay::StunDisposition::kSuccess) {
    if (reply.size != 0) std::abort();
    return;
  }
  if (request.size() < 40 || reply.size != (source.ip.is_v4() ? 32u : 44u)) std::abort();
  if (std::memcmp(out.data() + 4, request.data() + 4, 16) != 0) std::abort();
  ringscale::fuzz::Accepted();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  core::SocketAddress source;
  source.ip.family = data[0] % 2 == 0 ? core::IpAddress::Family::kV4 : core::IpAddress::Family::kV6;
  source.port = data[0];
  const core::Bytes request(data + 1, size - 1);
  Check(request, source);
  // The same as attributes of a request whose head and fingerprint are right.
  std::array<std::uint8_t, 12> transaction{};
  const auto valid = relay::MakeStunRequest(transaction);
  std::vector<std::uint8_t> made(valid.begin(), valid.begin() + 32);
  made.insert(made.end(), request.begin(), request.end());
  std::uint32_t crc = 0xffffffffu;
  for (const std::uint8_t byte : made) {
    crc ^= byte;
    for (int i = 0; i < 8; ++i) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0u);
  }
  made.resize(made.size() + 8);
  core::StoreBe32(made.data() + made.size() - 8, 0x80280004);
  core::StoreBe32(made.data() + made.size() - 4, ~crc ^ 0x5354554e);
  Check(made, source);
  return 0;
}
