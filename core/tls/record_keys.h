// The traffic keys of one TLS 1.3 connection after the handshake: all that an
// idle connection keeps (no cipher contexts; those come from AeadPool).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace ringscale::core::tls {

enum class Suite : std::uint8_t { kAes128GcmSha256, kAes256GcmSha384, kChacha20Poly1305Sha256 };

// Filled by InstallTrafficSecret and AdvanceTrafficSecret (key_schedule.h).
struct DirectionKeys {
  std::uint8_t secret[48] = {};  // current traffic secret, 32 or 48 bytes in use
  std::uint8_t key[32] = {};     // 16 or 32 bytes in use
  std::uint8_t iv[12] = {};
  std::uint64_t sequence = 0;
  // Names this key in the caches of AeadPool: unique in the process, new at every
  // change of the key. 0 = not named, works but is expanded for every record.
  std::uint64_t key_id = 0;
};

// AES-GCM keys must not protect more than 2^24.5 full records (RFC 8446 section 5.5).
inline constexpr std::uint32_t kRekeyAfterRecords = (1U << 24) - 1;

// Movable; the source and the destroyed object are wiped.
struct RecordKeys {
  Suite suite = Suite::kAes128GcmSha256;
  bool client = false;  // we are the client: tickets of the server are skipped
  // Peers may ask for smaller records (max_fragment_length, RFC 6066 section 4):
  // the most plaintext bytes that we put into a record.
  std::uint16_t max_plaintext = 16384;
  std::uint8_t empty_records = 0;     // consecutive records without data, limited
  bool key_update_pending = false;    // we owe the peer a KeyUpdate
  std::uint8_t key_updates_seen = 0;  // limited against data received, see records.h
  // Our sending key changes (with a KeyUpdate) after this many records.
  std::uint32_t rekey_after = kRekeyAfterRecords;
  // Start of a handshake message that was split over records; rare, else null.
  std::unique_ptr<std::vector<std::uint8_t>> handshake_fragment;
  DirectionKeys receive;
  DirectionKeys send;

  RecordKeys() = default;
  RecordKeys(RecordKeys&& other) noexcept;
  RecordKeys& operator=(RecordKeys&& other) noexcept;
  RecordKeys(const RecordKeys&) = delete;
  RecordKeys& operator=(const RecordKeys&) = delete;
  ~RecordKeys();
};
static_assert(sizeof(RecordKeys) <= 300);

}  // namespace ringscale::core::tls
