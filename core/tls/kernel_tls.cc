#include "core/tls/kernel_tls.h"

#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/base/fd.h"
#include "core/tls/key_schedule.h"

namespace ringscale::core::tls {
namespace {

// What the two AES-GCM lengths have in common, apart from their structures.
template <class Info>
struct Layout;
template <>
struct Layout<tls12_crypto_info_aes_gcm_128> {
  static constexpr std::uint16_t kCipher = TLS_CIPHER_AES_GCM_128;
};
template <>
struct Layout<tls12_crypto_info_aes_gcm_256> {
  static constexpr std::uint16_t kCipher = TLS_CIPHER_AES_GCM_256;
};

template <class Info>
int SetKey(int fd, int direction, const DirectionKeys& keys, const SocketOptionCalls& calls) {
  Info info{};
  info.info.version = TLS_1_3_VERSION;
  info.info.cipher_type = Layout<Info>::kCipher;
  // The kernel keeps the first bytes of the nonce apart, as TLS 1.2 has them.
  static_assert(sizeof(info.salt) + sizeof(info.iv) == sizeof(keys.iv));
  std::memcpy(info.salt, keys.iv, sizeof(info.salt));
  std::memcpy(info.iv, keys.iv + sizeof(info.salt), sizeof(info.iv));
  std::memcpy(info.key, keys.key, sizeof(info.key));
  StoreBe64(info.rec_seq, keys.sequence);
  const int error = calls.set(fd, SOL_TLS, direction, &info, sizeof(info)) == 0 ? 0 : errno;
  OPENSSL_cleanse(&info, sizeof(info));
  return error;
}

int SetKey(int fd, int direction, Suite suite, const DirectionKeys& keys,
           const SocketOptionCalls& calls) {
  return suite == Suite::kAes128GcmSha256
             ? SetKey<tls12_crypto_info_aes_gcm_128>(fd, direction, keys, calls)
             : SetKey<tls12_crypto_info_aes_gcm_256>(fd, direction, keys, calls);
}

template <class Info>
std::optional<std::uint64_t> Sequence(int fd, const SocketOptionCalls& calls) {
  Info info{};
  info.info.version = TLS_1_3_VERSION;
  info.info.cipher_type = Layout<Info>::kCipher;
  socklen_t size = sizeof(info);
  const bool ok = calls.get(fd, SOL_TLS, TLS_TX, &info, &size) == 0;
  const std::uint64_t sequence = LoadBe64(info.rec_seq);
  OPENSSL_cleanse(&info, sizeof(info));
  return ok ? std::optional(sequence) : std::nullopt;
}

int AttachTls(int fd, const SocketOptionCalls& calls) {
  constexpr char kName[] = "tls";
  return calls.set(fd, IPPROTO_TCP, TCP_ULP, kName, sizeof(kName)) == 0 ? 0 : errno;
}

std::string KernelRelease() {
  utsname name{};
  return uname(&name) == 0 ? name.release : "unknown";
}

// --- the probe's connection ---

struct Pair {
  Fd one;
  Fd other;
};

// Both ends of a TCP connection to ourselves: TLS is only for established ones.
std::optional<Pair> ConnectToOurselves() {
  const Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Pair pair{Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), {}};
  if (!listener.valid() || !pair.one.valid()) return std::nullopt;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const native = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  if (bind(listener.get(), native, size) != 0 || listen(listener.get(), 1) != 0 ||
      getsockname(listener.get(), native, &size) != 0 ||
      connect(pair.one.get(), native, size) != 0) {
    return std::nullopt;
  }
  pair.other = Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  return pair.other.valid() ? std::optional(std::move(pair)) : std::nullopt;
}

bool MakeProbeKeys(Suite suite, RecordKeys& keys) {
  keys.suite = suite;
  const std::array<std::uint8_t, 48> secret{};
  const Bytes bytes = Bytes(secret).first(SecretSize(suite));
  return InstallTrafficSecret(suite, bytes, keys.receive) &&
         InstallTrafficSecret(suite, bytes, keys.send);
}

std::string Explain(int error) {
  const std::string release = KernelRelease();
  switch (error) {
    case ENOENT:
      return "kernel " + release +
             " has no TLS here: the module `tls` is not loaded (modprobe tls)";
    case ENOPROTOOPT:
      return "kernel " + release + " was built without TLS";
    default:
      return "kernel " + release + " refuses TLS: " + std::strerror(error);
  }
}

}  // namespace

std::string_view KernelTlsRefusalLabel(KernelTlsRefusal refusal) {
  constexpr std::array<std::string_view, kKernelTlsRefusals> kLabels = {
      "none", "cipher", "record_size", "partial_record", "kernel", "broken"};
  return kLabels[static_cast<std::size_t>(refusal)];
}

KernelTlsRefusal InstallKernelTls(int fd, const RecordKeys& keys, const SocketOptionCalls& calls) {
  if (keys.suite == Suite::kChacha20Poly1305Sha256) return KernelTlsRefusal::kCipher;
  if (keys.max_plaintext < RecordKeys{}.max_plaintext) return KernelTlsRefusal::kRecordSize;
  if (keys.key_update_pending || keys.handshake_fragment != nullptr) {
    return KernelTlsRefusal::kPartialRecord;
  }
  // Up to the first key that it takes, the socket still carries what it is given.
  if (AttachTls(fd, calls) != 0 || ChangeReceiveKey(fd, keys, calls) != 0) {
    return KernelTlsRefusal::kKernel;
  }
  if (ChangeSendKey(fd, keys, calls) != 0) return KernelTlsRefusal::kBroken;
  return KernelTlsRefusal::kNone;
}

int ChangeReceiveKey(int fd, const RecordKeys& keys, const SocketOptionCalls& calls) {
  return SetKey(fd, TLS_RX, keys.suite, keys.receive, calls);
}

int ChangeSendKey(int fd, const RecordKeys& keys, const SocketOptionCalls& calls) {
  return SetKey(fd, TLS_TX, keys.suite, keys.send, calls);
}

std::optional<std::uint64_t> RecordsSent(int fd, Suite suite, const SocketOptionCalls& calls) {
  return suite == Suite::kAes128GcmSha256 ? Sequence<tls12_crypto_info_aes_gcm_128>(fd, calls)
                                          : Sequence<tls12_crypto_info_aes_gcm_256>(fd, calls);
}

KernelTlsSupport ProbeKernelTls(const SocketOptionCalls& calls) {
  KernelTlsSupport support;
  support.rekeys = true;
  for (const Suite suite : {Suite::kAes128GcmSha256, Suite::kAes256GcmSha384}) {
    const std::optional<Pair> pair = ConnectToOurselves();
    RecordKeys keys;
    if (!pair || !MakeProbeKeys(suite, keys)) {
      return {.why = "kernel TLS could not be tried: no connection over 127.0.0.1"};
    }
    const int fd = pair->one.get();
    int error = AttachTls(fd, calls);
    if (error == 0) error = ChangeReceiveKey(fd, keys, calls);
    if (error == 0) error = ChangeSendKey(fd, keys, calls);
    if (error != 0) return {.why = Explain(error)};
    if (!RecordsSent(fd, suite, calls)) {
      return {.why = "kernel " + KernelRelease() + " does not count its TLS records"};
    }
    support.rekeys = support.rekeys && ChangeSendKey(fd, keys, calls) == 0;
  }
  support.available = true;
  support.why = "kernel " + KernelRelease() +
                (support.rekeys ? " takes new keys in place" : " cannot change a key in place");
  return support;
}

void SetRecordType(msghdr& message, RecordTypeBuffer& buffer, std::uint8_t type) {
  message.msg_control = buffer.bytes.data();
  message.msg_controllen = buffer.bytes.size();
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_TLS;
  header->cmsg_type = TLS_SET_RECORD_TYPE;
  header->cmsg_len = CMSG_LEN(1);
  *CMSG_DATA(header) = type;
}

ControlRecord ReceiveControlRecord(int fd, MutableBytes memory) {
  iovec content{.iov_base = memory.data(), .iov_len = memory.size()};
  RecordTypeBuffer control;
  msghdr message{};
  message.msg_iov = &content;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes.data();
  message.msg_controllen = control.bytes.size();
  const ssize_t size = recvmsg(fd, &message, MSG_DONTWAIT);
  if (size < 0) return {.error = errno};
  ControlRecord record;
  record.size = static_cast<std::size_t>(size);
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_TLS &&
      header->cmsg_type == TLS_GET_RECORD_TYPE) {
    record.type = *CMSG_DATA(header);
  }
  return record;
}

}  // namespace ringscale::core::tls
