#include "core/tls/record_keys.h"

#include <openssl/crypto.h>

#include <utility>

namespace ringscale::core::tls {

namespace {
void WipeDirection(DirectionKeys& keys) {
  OPENSSL_cleanse(&keys, sizeof(keys));  // all-zero is the empty state
}
}  // namespace

RecordKeys::RecordKeys(RecordKeys&& other) noexcept {
  *this = std::move(other);
}

RecordKeys& RecordKeys::operator=(RecordKeys&& other) noexcept {
  if (this == &other) return *this;
  suite = other.suite;
  client = other.client;
  max_plaintext = other.max_plaintext;
  empty_records = other.empty_records;
  key_update_pending = other.key_update_pending;
  key_updates_seen = other.key_updates_seen;
  rekey_after = other.rekey_after;
  handshake_fragment = std::move(other.handshake_fragment);
  receive = other.receive;
  send = other.send;
  WipeDirection(other.receive);
  WipeDirection(other.send);
  return *this;
}

RecordKeys::~RecordKeys() {
  WipeDirection(receive);
  WipeDirection(send);
}

}  // namespace ringscale::core::tls
