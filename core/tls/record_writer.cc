#include <algorithm>
#include <array>

#include "core/tls/key_schedule.h"
#include "core/tls/records.h"

namespace ringscale::core::tls {

namespace {

void WriteHeader(std::uint8_t* record, std::size_t plaintext) {
  record[0] = kTypeData;
  StoreBe16(record + 1, 0x0303);
  StoreBe16(record + 3, static_cast<std::uint16_t>(plaintext + 1 + kAeadTagSize));
}

std::size_t RecordLimit(const RecordKeys& keys, std::size_t max_record) {
  return std::clamp<std::size_t>(max_record, 1, keys.max_plaintext);
}

// One record of a few bytes of some other type than data.
std::size_t SealMessage(RecordKeys& keys, AeadPool& pool, std::uint8_t type, Bytes content,
                        MutableBytes out) {
  if (out.size() < content.size() + kRecordOverhead) return 0;
  WriteHeader(out.data(), content.size());
  std::uint8_t* text = out.data() + kRecordHeaderSize;
  std::copy(content.begin(), content.end(), text);
  text[content.size()] = type;
  const MutableBytes inner(text, content.size() + 1);
  if (!pool.SealInPlace(keys.suite, keys.send, out.first(kRecordHeaderSize), inner,
                        text + inner.size())) {
    return 0;
  }
  ++keys.send.sequence;
  return content.size() + kRecordOverhead;
}

// Walks through the pieces, possibly several times into one of them.
struct Cursor {
  std::span<const Bytes> pieces;
  std::size_t piece = 0;
  std::size_t offset = 0;

  // The next run of at most `limit` bytes.
  Bytes Take(std::size_t limit) {
    while (pieces[piece].size() == offset) {
      ++piece;
      offset = 0;
    }
    const Bytes run = pieces[piece].subspan(offset);
    const Bytes taken = run.first(std::min(limit, run.size()));
    offset += taken.size();
    return taken;
  }
};

bool SealOne(RecordKeys& keys, AeadPool& pool, Cursor& cursor, std::size_t size,
             std::uint8_t* out) {
  WriteHeader(out, size);
  if (!pool.BeginSeal(keys.suite, keys.send, Bytes(out, kRecordHeaderSize))) return false;
  std::uint8_t* at = out + kRecordHeaderSize;
  while (size > 0) {
    const Bytes run = cursor.Take(size);
    if (!pool.SealPiece(run, at)) return false;
    at += run.size();
    size -= run.size();
  }
  const std::uint8_t type = kTypeData;
  if (!pool.SealPiece(Bytes(&type, 1), at) || !pool.EndSeal(at + 1)) return false;
  ++keys.send.sequence;
  return true;
}

}  // namespace

std::size_t SealedSize(const RecordKeys& keys, std::size_t plaintext, std::size_t max_record) {
  if (plaintext == 0) return 0;
  const std::size_t limit = RecordLimit(keys, max_record);
  const std::size_t records = (plaintext + limit - 1) / limit;
  const std::uint64_t used =
      keys.key_update_pending ? 0 : std::min<std::uint64_t>(keys.send.sequence, keys.rekey_after);
  const std::uint64_t updates =
      (keys.key_update_pending ? 1 : 0) + (used + records - 1) / keys.rekey_after;
  return plaintext + records * kRecordOverhead +
         static_cast<std::size_t>(updates) * kSealedKeyUpdateSize;
}

std::size_t SealRecords(RecordKeys& keys, AeadPool& pool, std::span<const Bytes> pieces,
                        MutableBytes out, std::size_t max_record) {
  std::size_t left = 0;
  for (const Bytes piece : pieces) left += piece.size();
  if (out.size() < SealedSize(keys, left, max_record)) return 0;
  const std::size_t limit = RecordLimit(keys, max_record);
  Cursor cursor{pieces};
  std::size_t written = 0;
  while (left > 0) {
    if (NeedsKeyUpdate(keys)) {
      const std::size_t update = SealKeyUpdate(keys, pool, out.subspan(written));
      if (update == 0) return 0;
      written += update;
    }
    const std::size_t size = std::min(left, limit);
    if (!SealOne(keys, pool, cursor, size, out.data() + written)) return 0;
    written += size + kRecordOverhead;
    left -= size;
  }
  return written;
}

bool SealRecordInPlace(RecordKeys& keys, AeadPool& pool, MutableBytes record,
                       std::size_t plaintext) {
  WriteHeader(record.data(), plaintext);
  std::uint8_t* text = record.data() + kRecordHeaderSize;
  text[plaintext] = kTypeData;
  if (!pool.SealInPlace(keys.suite, keys.send, record.first(kRecordHeaderSize),
                        MutableBytes(text, plaintext + 1), text + plaintext + 1)) {
    return false;
  }
  ++keys.send.sequence;
  return true;
}

std::size_t SealKeyUpdate(RecordKeys& keys, AeadPool& pool, MutableBytes out, bool ask_peer) {
  auto message = kKeyUpdateMessage;
  message.back() = ask_peer ? 1 : 0;
  const std::size_t written = SealMessage(keys, pool, kTypeHandshake, message, out);
  if (written == 0 || !AdvanceTrafficSecret(keys.suite, keys.send)) return 0;
  keys.key_update_pending = false;
  return written;
}

std::size_t SealAlert(RecordKeys& keys, AeadPool& pool, Alert alert, MutableBytes out) {
  return SealMessage(keys, pool, kTypeAlert, AlertMessage(alert), out);
}

}  // namespace ringscale::core::tls
