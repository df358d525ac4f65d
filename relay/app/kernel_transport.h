// The relay's second transport: the TLS records of a client are the kernel's
// business (core/tls/kernel_tls.h), its shard sees plaintext. What the kernel
// leaves to us is kept here: alerts, KeyUpdates and how long a key may be used.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/tls/kernel_tls.h"
#include "core/tls/record_keys.h"

namespace ringscale::relay {

class SendBatch;
struct LoggedInClient;

enum class TlsTransport : std::uint8_t {
  kAuto,    // the kernel's where it can change keys in place
  kUser,    // our own records
  kKernel,  // the kernel's wherever it takes a connection
};

// How clients that speak TLS are served; decided once.
struct KernelTlsPlan {
  bool use = false;     // tried for every client
  bool rekeys = false;  // the kernel takes new keys in place
  core::tls::SocketOptionCalls calls;
};
// Tries what the kernel can do where that matters, and logs the decision.
KernelTlsPlan MakeKernelTlsPlan(TlsTransport wanted, const core::tls::SocketOptionCalls& calls);

class KernelTransport {
 public:
  // The keys are installed already.
  KernelTransport(core::tls::RecordKeys keys, const KernelTlsPlan& plan);

  [[nodiscard]] core::tls::RecordKeys& keys() { return keys_; }
  [[nodiscard]] bool rekeys() const { return rekeys_; }

  // What the batch that is being built, or in flight, consists of.
  void SetRecordType(std::uint8_t type) { record_type_ = type; }
  [[nodiscard]] std::uint8_t record_type() const { return record_type_; }
  // The message that sends what is left of `batch` as records of that type. Good
  // until the next call, and while both objects live.
  msghdr* Message(const SendBatch& batch);

  // A peer that sends data may send control records again.
  void NoteData();

  // Whether the sending key has protected all records that it may. The kernel does
  // not care; it is asked for their number only when there may be too many.
  [[nodiscard]] bool SendKeyUsedUp(int fd);
  // Puts the next keys to use, after a KeyUpdate. False when the kernel does not
  // take them.
  [[nodiscard]] bool ChangeReceiveKey(int fd);  // keys().receive has changed
  [[nodiscard]] bool AdvanceSendKey(int fd);

  bool ending = false;  // closed with close_notify after the send in flight

 private:
  core::tls::RecordKeys keys_;  // send.sequence: an upper bound
  core::tls::SocketOptionCalls calls_;
  bool rekeys_;
  std::uint8_t record_type_;
  msghdr message_{};
  core::tls::RecordTypeBuffer control_;
};

struct KernelMove {
  std::unique_ptr<KernelTransport> transport;  // null: it stays as it is
  core::tls::KernelTlsRefusal refusal{};       // why; kNone when it was not tried
};
// Moves a client whose handshake is over to the kernel; `client.tls` is then null.
// Any thread.
KernelMove MoveToKernel(LoggedInClient& client, const KernelTlsPlan& plan);

}  // namespace ringscale::relay
