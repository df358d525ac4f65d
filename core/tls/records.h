// The TLS 1.3 record layer after the handshake (RFC 8446 section 5), sans-IO and
// in place. The relay drives it directly: no allocation, exception or virtual
// call per record. Everything works on the RecordKeys of one connection and the
// AeadPool of the calling thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/base/bytes.h"
#include "core/tls/aead.h"
#include "core/tls/record_keys.h"

namespace ringscale::core::tls {

// Content types (RFC 8446 section 5.1).
inline constexpr std::uint8_t kTypeAlert = 21;
inline constexpr std::uint8_t kTypeHandshake = 22;
inline constexpr std::uint8_t kTypeData = 23;

inline constexpr std::size_t kRecordHeaderSize = 5;
// Header, inner content type and tag of a record that we seal.
inline constexpr std::size_t kRecordOverhead = kRecordHeaderSize + 1 + kAeadTagSize;
inline constexpr std::size_t kMaxPlaintext = 16384;
inline constexpr std::size_t kMaxRecordBody = kMaxPlaintext + 256;
// The longest record that a peer may send, header included.
inline constexpr std::size_t kMaxRecord = kRecordHeaderSize + kMaxRecordBody;
inline constexpr std::size_t kSealedAlertSize = kRecordOverhead + 2;
inline constexpr std::size_t kSealedKeyUpdateSize = kRecordOverhead + 5;

// Records without data (empty ones, tickets, KeyUpdates) that a peer may send in
// a row.
inline constexpr std::uint8_t kMaxEmptyRecords = 32;
// A KeyUpdate costs this much credit, each record with data gives one back: about
// 15 in a burst, then one per 16 records.
inline constexpr std::uint8_t kKeyUpdateCost = 16;
// The longest handshake message put together from several records: 1 KiB. A
// server accepts nothing but KeyUpdate, which has five bytes.
inline constexpr std::size_t kMaxHandshakeMessage = 1024;

// RFC 8446 section 6.
enum class Alert : std::uint8_t {
  kCloseNotify = 0,
  kUnexpectedMessage = 10,
  kBadRecordMac = 20,
  kRecordOverflow = 22,
  kIllegalParameter = 47,
  kDecodeError = 50,
  kProtocolVersion = 70,
  kInternalError = 80,
  kUserCanceled = 90,
};

// The content of an alert record.
[[nodiscard]] constexpr std::array<std::uint8_t, 2> AlertMessage(Alert alert) {
  const std::uint8_t level = alert == Alert::kCloseNotify ? 1 : 2;  // warning, fatal
  return {level, static_cast<std::uint8_t>(alert)};
}

// A KeyUpdate that does not ask for one in return (RFC 8446 section 4.6.3).
inline constexpr std::array<std::uint8_t, 5> kKeyUpdateMessage = {24, 0, 0, 1, 0};

struct RecordEvent {
  enum class Kind : std::uint8_t {
    kNeedMore,  // less than one record: `needed` bytes in all
    kData,      // `data`, never empty, inside the given memory
    kHandled,   // a record without data; maybe a KeyUpdate is due now
    kClosed,    // close_notify: nothing follows
    kFatal,     // close the connection: the peer sent an alert (`peer_alert`) or broke
                // the protocol (then send `alert` first)
  };
  Kind kind = Kind::kNeedMore;
  bool peer_alert = false;            // kFatal: the alert came from the peer
  Alert alert = Alert::kCloseNotify;  // kFatal
  std::size_t consumed = 0;           // bytes of `in` that are done with, except for kNeedMore
  std::size_t needed = 0;             // kNeedMore
  MutableBytes data;                  // kData
  const char* reason = "";            // kFatal, for logs and counters; static text
};

class RecordReader {
 public:
  // Looks at the first record of `in` (ciphertext as received) and opens it in
  // place. Call again with the rest until kNeedMore, kClosed or kFatal. The memory
  // of a handled record is clobbered whatever the result.
  static RecordEvent Next(RecordKeys& keys, AeadPool& pool, MutableBytes in);

  // The same for the content of one record that the kernel has opened; kNeedMore
  // and `consumed` do not occur.
  static RecordEvent OnContent(RecordKeys& keys, std::uint8_t type, MutableBytes content);
};

// --- sending ---
// A due KeyUpdate (the peer asked for one, or a key is used up) is sealed in front
// of the next data by itself; SealKeyUpdate sends it without data.

// The exact number of bytes that SealRecords will write now for `plaintext` bytes
// in records of at most min(max_record, keys.max_plaintext) bytes each.
[[nodiscard]] std::size_t SealedSize(const RecordKeys& keys, std::size_t plaintext,
                                     std::size_t max_record = kMaxPlaintext);

// Seals the pieces, in order, as one stream of records into `out`, which has at
// least SealedSize bytes. Pieces must not overlap `out`. The bytes written, or 0
// when OpenSSL has no memory (close the connection then) or there is no plaintext.
[[nodiscard]] std::size_t SealRecords(RecordKeys& keys, AeadPool& pool,
                                      std::span<const Bytes> pieces, MutableBytes out,
                                      std::size_t max_record = kMaxPlaintext);

// Seals one record whose `plaintext` bytes already lie at
// record[kRecordHeaderSize]; `record` has plaintext + kRecordOverhead bytes. Only
// while NeedsKeyUpdate is false and plaintext <= keys.max_plaintext. False when
// OpenSSL has no memory.
[[nodiscard]] bool SealRecordInPlace(RecordKeys& keys, AeadPool& pool, MutableBytes record,
                                     std::size_t plaintext);

[[nodiscard]] inline bool NeedsKeyUpdate(const RecordKeys& keys) {
  return keys.key_update_pending || keys.send.sequence >= keys.rekey_after;
}

// Each writes one record and returns its size, or 0 when OpenSSL has no memory or
// `out` is too small. SealKeyUpdate changes the sending key afterwards and clears
// key_update_pending; `ask_peer` wants the peer to do the same.
[[nodiscard]] std::size_t SealKeyUpdate(RecordKeys& keys, AeadPool& pool, MutableBytes out,
                                        bool ask_peer = false);
[[nodiscard]] std::size_t SealAlert(RecordKeys& keys, AeadPool& pool, Alert alert,
                                    MutableBytes out);

}  // namespace ringscale::core::tls
