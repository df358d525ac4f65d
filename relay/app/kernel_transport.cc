#include "relay/app/kernel_transport.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "core/obs/log.h"
#include "core/tls/aead.h"
#include "core/tls/key_schedule.h"
#include "core/tls/records.h"
#include "relay/app/ports.h"
#include "relay/queue/send_batch.h"

namespace ringscale::relay {
namespace {

using core::tls::KernelTlsRefusal;
using core::tls::RecordEvent;

// The kernel closes a record when it is full, when it holds many pieces and at
// the end of a message.
constexpr std::uint32_t kLeastRecordBytes = 4096;

// The part of a record that is still in the socket, without anything behind it.
// False when it has not arrived.
bool ReadRest(int fd, std::vector<std::uint8_t>& bytes, std::size_t needed) {
  const std::size_t have = bytes.size();
  bytes.resize(needed);
  const ssize_t got = recv(fd, bytes.data() + have, needed - have, MSG_DONTWAIT);
  bytes.resize(have + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return bytes.size() == needed;
}

// Completes the record whose start was received with the login and opens it, since
// the kernel has to begin with a whole one. False, with everything as it was but
// for bytes moved from the socket to `client.ciphertext`, when that is not possible.
bool OpenStartedRecord(LoggedInClient& client) {
  if (client.ciphertext.empty()) return true;
  core::tls::RecordKeys trial;
  trial.suite = client.tls->suite;
  trial.receive = client.tls->receive;
  core::tls::AeadPool pool(core::tls::AeadPool::Engine::kOpenSsl);
  std::vector<std::uint8_t> plaintext;
  std::size_t used = 0;
  while (used < client.ciphertext.size()) {
    // Opened in a copy: user space needs the original if this comes to nothing.
    std::vector<std::uint8_t> copy(client.ciphertext.begin() + static_cast<std::ptrdiff_t>(used),
                                   client.ciphertext.end());
    const RecordEvent event = core::tls::RecordReader::Next(trial, pool, copy);
    if (event.kind == RecordEvent::Kind::kData) {
      plaintext.insert(plaintext.end(), event.data.begin(), event.data.end());
      used += event.consumed;
    } else if (event.kind != RecordEvent::Kind::kNeedMore ||
               !ReadRest(client.fd.get(), client.ciphertext, used + event.needed)) {
      return false;
    }
  }
  client.ciphertext.clear();
  client.plaintext.insert(client.plaintext.end(), plaintext.begin(), plaintext.end());
  client.tls->receive = trial.receive;
  return true;
}

}  // namespace

KernelTlsPlan MakeKernelTlsPlan(TlsTransport wanted, const core::tls::SocketOptionCalls& calls) {
  KernelTlsPlan plan{.calls = calls};
  const char* chosen = "user space";
  std::string why = "as configured";
  if (wanted != TlsTransport::kUser) {
    const core::tls::KernelTlsSupport support = core::tls::ProbeKernelTls(calls);
    plan.rekeys = support.rekeys;
    plan.use = wanted == TlsTransport::kKernel || (support.available && support.rekeys);
    why = support.why;
    if (plan.use) chosen = support.available ? "kernel" : "kernel where it takes a connection";
  }
  core::LogInfo("relay", "TLS transport chosen", {{"transport", chosen}, {"why", why}});
  return plan;
}

KernelTransport::KernelTransport(core::tls::RecordKeys keys, const KernelTlsPlan& plan)
    : keys_(std::move(keys)),
      calls_(plan.calls),
      rekeys_(plan.rekeys),
      record_type_(core::tls::kTypeData) {}

msghdr* KernelTransport::Message(const SendBatch& batch) {
  message_ = {};
  message_.msg_iov = const_cast<iovec*>(batch.pieces());
  message_.msg_iovlen = batch.count();
  if (record_type_ != core::tls::kTypeData) {
    core::tls::SetRecordType(message_, control_, record_type_);
  }
  keys_.send.sequence += 1 + batch.count() + batch.bytes() / kLeastRecordBytes;
  return &message_;
}

void KernelTransport::NoteData() {
  keys_.empty_records = 0;
  if (keys_.key_updates_seen > 0) --keys_.key_updates_seen;
}

bool KernelTransport::SendKeyUsedUp(int fd) {
  if (keys_.send.sequence < keys_.rekey_after) return false;
  const std::optional<std::uint64_t> sent = core::tls::RecordsSent(fd, keys_.suite, calls_);
  if (!sent) return true;
  keys_.send.sequence = *sent;
  return *sent >= keys_.rekey_after;
}

bool KernelTransport::ChangeReceiveKey(int fd) {
  return rekeys_ && core::tls::ChangeReceiveKey(fd, keys_, calls_) == 0;
}

bool KernelTransport::AdvanceSendKey(int fd) {
  keys_.key_update_pending = false;
  return core::tls::AdvanceTrafficSecret(keys_.suite, keys_.send) &&
         core::tls::ChangeSendKey(fd, keys_, calls_) == 0;
}

KernelMove MoveToKernel(LoggedInClient& client, const KernelTlsPlan& plan) {
  KernelMove move;
  if (!plan.use || client.tls == nullptr) return move;
  move.refusal = OpenStartedRecord(client)
                     ? core::tls::InstallKernelTls(client.fd.get(), *client.tls, plan.calls)
                     : KernelTlsRefusal::kPartialRecord;
  if (move.refusal != KernelTlsRefusal::kNone) return move;
  move.transport = std::make_unique<KernelTransport>(std::move(*client.tls), plan);
  client.tls.reset();
  return move;
}

}  // namespace ringscale::relay
