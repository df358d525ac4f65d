#include "relay/stun/responder.h"

#include <cstring>

namespace ringscale::relay {
namespace {

constexpr std::size_t kStunHeaderBytes = 20;
constexpr std::uint32_t kMagicCookie = 0x2112a442;
constexpr std::uint16_t kBindingRequest = 0x0001;
constexpr std::uint16_t kBindingSuccess = 0x0101;
constexpr std::uint16_t kXorMappedAddress = 0x0020;
constexpr std::uint16_t kSoftware = 0x8022;
constexpr std::uint16_t kFingerprint = 0x8028;
constexpr std::uint32_t kFingerprintXor = 0x5354554e;
constexpr std::size_t kFingerprintBytes = 8;  // attribute header and value
constexpr char kSoftwareName[] = "tailnode";
constexpr std::size_t kSoftwareNameBytes = sizeof(kSoftwareName) - 1;

consteval std::array<std::uint32_t, 256> MakeCrcTable() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320u : 0u);
    table[i] = value;
  }
  return table;
}
constexpr std::array<std::uint32_t, 256> kCrcTable = MakeCrcTable();

// CRC-32 as IEEE 802.3 has it.
std::uint32_t Crc32(core::Bytes bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const std::uint8_t byte : bytes) crc = kCrcTable[(crc ^ byte) & 0xff] ^ (crc >> 8);
  return ~crc;
}

bool IsClientRequest(core::Bytes request) {
  if (request.size() < kStunHeaderBytes || (request[0] & 0xc0) != 0 ||
      core::LoadBe32(request.data() + 4) != kMagicCookie ||
      core::LoadBe16(request.data()) != kBindingRequest) {
    return false;
  }
  bool software = false;
  bool fingerprint_last = false;
  core::Bytes rest = request.subspan(kStunHeaderBytes);
  while (!rest.empty()) {
    if (rest.size() < 4) return false;
    const std::uint16_t type = core::LoadBe16(rest.data());
    const std::size_t length = core::LoadBe16(rest.data() + 2);
    const std::size_t padded = (length + 3) & ~std::size_t{3};
    if (rest.size() - 4 < padded) return false;
    if (type == kSoftware && length == kSoftwareNameBytes &&
        std::memcmp(rest.data() + 4, kSoftwareName, kSoftwareNameBytes) == 0) {
      software = true;
    }
    fingerprint_last = type == kFingerprint && length == 4;
    rest = rest.subspan(4 + padded);
  }
  if (!software || !fingerprint_last) return false;
  const std::uint32_t expected =
      Crc32(request.first(request.size() - kFingerprintBytes)) ^ kFingerprintXor;
  return core::LoadBe32(request.data() + request.size() - 4) == expected;
}

}  // namespace

StunReply AnswerStun(core::Bytes request, const core::SocketAddress& source,
                     std::array<std::uint8_t, kMaxStunReplyBytes>& out) {
  if (!source.ip.valid() || !IsClientRequest(request)) return {};
  const std::size_t address_bytes = source.ip.is_v4() ? 4 : 16;
  core::StoreBe16(out.data(), kBindingSuccess);
  core::StoreBe16(out.data() + 2, static_cast<std::uint16_t>(8 + address_bytes));
  // Cookie and transaction are the request's; the address is XORed with both.
  std::memcpy(out.data() + 4, request.data() + 4, 16);
  std::uint8_t* attribute = out.data() + kStunHeaderBytes;
  core::StoreBe16(attribute, kXorMappedAddress);
  core::StoreBe16(attribute + 2, static_cast<std::uint16_t>(4 + address_bytes));
  attribute[4] = 0;
  attribute[5] = source.ip.is_v4() ? 1 : 2;
  core::StoreBe16(attribute + 6, static_cast<std::uint16_t>(source.port ^ (kMagicCookie >> 16)));
  for (std::size_t i = 0; i < address_bytes; ++i) {
    attribute[8 + i] = source.ip.bytes[i] ^ out[4 + i];
  }
  return {StunDisposition::kSuccess, kStunHeaderBytes + 8 + address_bytes};
}

std::array<std::uint8_t, 40> MakeStunRequest(const std::array<std::uint8_t, 12>& transaction) {
  std::array<std::uint8_t, 40> out{};
  core::StoreBe16(out.data(), kBindingRequest);
  core::StoreBe16(out.data() + 2, static_cast<std::uint16_t>(out.size() - kStunHeaderBytes));
  core::StoreBe32(out.data() + 4, kMagicCookie);
  std::memcpy(out.data() + 8, transaction.data(), transaction.size());
  core::StoreBe16(out.data() + 20, kSoftware);
  core::StoreBe16(out.data() + 22, kSoftwareNameBytes);
  std::memcpy(out.data() + 24, kSoftwareName, kSoftwareNameBytes);
  core::StoreBe16(out.data() + 32, kFingerprint);
  core::StoreBe16(out.data() + 34, 4);
  core::StoreBe32(out.data() + 36, Crc32(core::Bytes(out).first(32)) ^ kFingerprintXor);
  return out;
}

}  // namespace ringscale::relay
