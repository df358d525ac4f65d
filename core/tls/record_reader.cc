#include <algorithm>

#include "core/tls/key_schedule.h"
#include "core/tls/records.h"

namespace ringscale::core::tls {

namespace {

constexpr std::uint8_t kNewSessionTicket = 4;
constexpr std::uint8_t kKeyUpdate = 24;
constexpr std::size_t kMessageHeader = 4;

RecordEvent Fatal(Alert alert, const char* reason) {
  RecordEvent event;
  event.kind = RecordEvent::Kind::kFatal;
  event.alert = alert;
  event.reason = reason;
  return event;
}

RecordEvent Handled() {
  RecordEvent event;
  event.kind = RecordEvent::Kind::kHandled;
  return event;
}

RecordEvent OnAlert(Bytes content) {
  if (content.size() != 2) return Fatal(Alert::kDecodeError, "malformed alert");
  const Alert alert{content[1]};
  if (alert == Alert::kUserCanceled) return Handled();  // close_notify follows
  RecordEvent event;
  event.alert = alert;
  event.peer_alert = true;
  if (alert == Alert::kCloseNotify) {
    event.kind = RecordEvent::Kind::kClosed;
  } else {
    event.kind = RecordEvent::Kind::kFatal;
    event.reason = "alert from the peer";
  }
  return event;
}

RecordEvent OnKeyUpdate(RecordKeys& keys, std::uint8_t request, bool ends_record) {
  if (!ends_record) return Fatal(Alert::kUnexpectedMessage, "KeyUpdate does not end its record");
  if (request > 1) return Fatal(Alert::kIllegalParameter, "malformed KeyUpdate");
  if (keys.key_updates_seen > 255 - kKeyUpdateCost) {
    return Fatal(Alert::kUnexpectedMessage, "too many KeyUpdates");
  }
  keys.key_updates_seen = static_cast<std::uint8_t>(keys.key_updates_seen + kKeyUpdateCost);
  if (!AdvanceTrafficSecret(keys.suite, keys.receive)) {
    return Fatal(Alert::kInternalError, "no memory for a key");
  }
  if (request == 1) keys.key_update_pending = true;
  return Handled();
}

// Handles the complete messages at the start of `content`; `left` is what remains,
// the start of a message whose rest comes with the next record.
RecordEvent OnMessages(RecordKeys& keys, Bytes content, Bytes& left) {
  while (!content.empty()) {
    const std::uint8_t type = content[0];
    const bool ticket = type == kNewSessionTicket && keys.client;
    if (type != kKeyUpdate && !ticket) {
      return Fatal(Alert::kUnexpectedMessage, "unexpected handshake message");
    }
    if (content.size() < kMessageHeader) break;
    const std::size_t size = LoadBe32(content.data()) & 0xffffff;
    if (type == kKeyUpdate && size != 1) {
      return Fatal(Alert::kDecodeError, "malformed KeyUpdate");
    }
    if (size > kMaxHandshakeMessage - kMessageHeader) {
      // A ticket that arrived whole costs nothing to skip, however long it is.
      if (content.size() - kMessageHeader < size) {
        return Fatal(Alert::kUnexpectedMessage, "handshake message too long");
      }
    }
    if (content.size() - kMessageHeader < size) break;
    const Bytes body = content.subspan(kMessageHeader, size);
    content = content.subspan(kMessageHeader + size);
    if (type == kKeyUpdate) {
      RecordEvent event = OnKeyUpdate(keys, body[0], content.empty());
      if (event.kind == RecordEvent::Kind::kFatal) return event;
    }
  }
  left = content;
  return Handled();
}

RecordEvent OnHandshake(RecordKeys& keys, Bytes content) {
  if (content.empty()) return Fatal(Alert::kUnexpectedMessage, "empty handshake record");
  if (keys.handshake_fragment == nullptr) {
    Bytes left;
    RecordEvent event = OnMessages(keys, content, left);
    if (event.kind != RecordEvent::Kind::kFatal && !left.empty()) {
      keys.handshake_fragment =
          std::make_unique<std::vector<std::uint8_t>>(left.begin(), left.end());
    }
    return event;
  }
  // At most kMaxHandshakeMessage bytes of fragment and one record.
  std::vector<std::uint8_t> whole = std::move(*keys.handshake_fragment);
  keys.handshake_fragment.reset();
  whole.insert(whole.end(), content.begin(), content.end());
  Bytes left;
  RecordEvent event = OnMessages(keys, whole, left);
  if (event.kind != RecordEvent::Kind::kFatal && !left.empty()) {
    keys.handshake_fragment = std::make_unique<std::vector<std::uint8_t>>(left.begin(), left.end());
  }
  return event;
}

RecordEvent ByType(RecordKeys& keys, std::uint8_t type, MutableBytes content) {
  if (type == kTypeAlert) return OnAlert(content);
  if (type == kTypeHandshake) return OnHandshake(keys, content);
  if (type != kTypeData) return Fatal(Alert::kUnexpectedMessage, "unexpected record type");
  if (keys.handshake_fragment != nullptr) {
    return Fatal(Alert::kUnexpectedMessage, "data inside a handshake message");
  }
  if (content.empty()) return Handled();
  RecordEvent event;
  event.kind = RecordEvent::Kind::kData;
  event.data = content;
  return event;
}

RecordEvent Open(RecordKeys& keys, AeadPool& pool, Bytes header, MutableBytes body) {
  if (!pool.OpenInPlace(keys.suite, keys.receive, header, body)) {
    return Fatal(Alert::kBadRecordMac, "bad record tag");
  }
  ++keys.receive.sequence;
  std::size_t size = body.size() - kAeadTagSize;
  if (size > kMaxPlaintext + 1) return Fatal(Alert::kRecordOverflow, "record too long");
  while (size > 0 && body[size - 1] == 0) --size;  // padding
  if (size == 0) return Fatal(Alert::kUnexpectedMessage, "record without a content type");

  return RecordReader::OnContent(keys, body[size - 1], body.first(size - 1));
}

}  // namespace

RecordEvent RecordReader::OnContent(RecordKeys& keys, std::uint8_t type, MutableBytes content) {
  RecordEvent event = ByType(keys, type, content);
  if (event.kind == RecordEvent::Kind::kData) {
    keys.empty_records = 0;
    if (keys.key_updates_seen > 0) --keys.key_updates_seen;
  } else if (event.kind == RecordEvent::Kind::kHandled && ++keys.empty_records > kMaxEmptyRecords) {
    return Fatal(Alert::kUnexpectedMessage, "too many records without data");
  }
  return event;
}

RecordEvent RecordReader::Next(RecordKeys& keys, AeadPool& pool, MutableBytes in) {
  RecordEvent event;
  if (in.empty()) {
    event.needed = kRecordHeaderSize;
    return event;
  }
  // Each header byte is judged as soon as it is there: a peer that speaks no TLS
  // is told so before it has sent a record's worth.
  if (in[0] != kTypeData) return Fatal(Alert::kUnexpectedMessage, "record is not encrypted");
  if (in.size() < kRecordHeaderSize) {
    event.needed = kRecordHeaderSize;
    return event;
  }
  if (LoadBe16(in.data() + 1) != 0x0303) {
    return Fatal(Alert::kProtocolVersion, "wrong record version");
  }
  const std::size_t size = LoadBe16(in.data() + 3);
  if (size > kMaxRecordBody) return Fatal(Alert::kRecordOverflow, "record too long");
  if (size < kAeadTagSize + 1) return Fatal(Alert::kDecodeError, "record too short");
  if (in.size() < kRecordHeaderSize + size) {
    event.needed = kRecordHeaderSize + size;
    return event;
  }
  event = Open(keys, pool, in.first(kRecordHeaderSize), in.subspan(kRecordHeaderSize, size));
  event.consumed = kRecordHeaderSize + size;
  return event;
}

}  // namespace ringscale::core::tls
