// TLS 1.3 records made and opened by the kernel (SOL_TLS) with the keys of a
// handshake that ended in user space. Needs the kernel's `tls` module, and a
// socket on which nothing but whole records has been received so far.
//
// After InstallKernelTls the socket sends and receives plaintext. What is not
// data travels beside it: such a record fails a plain receive with EIO (EKEYEXPIRED
// behind a KeyUpdate) and is fetched with ReceiveControlRecord; one is sent with a
// message that SetRecordType prepared. A KeyUpdate asks for a new key in place,
// which Linux takes from 6.14 on.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/tls/record_keys.h"

namespace ringscale::core::tls {

// The system calls of this file, to be replaced in tests.
struct SocketOptionCalls {
  int (*set)(int fd, int level, int option, const void* value, socklen_t size) = &::setsockopt;
  int (*get)(int fd, int level, int option, void* value, socklen_t* size) = &::getsockopt;
};

// Why a connection did not move to the kernel.
enum class KernelTlsRefusal : std::uint8_t {
  kNone,           // it did
  kCipher,         // not AES-GCM
  kRecordSize,     // the peer wants smaller records than the kernel makes
  kPartialRecord,  // part of a record was received already, or a KeyUpdate is under way
  kKernel,         // the kernel said no; the socket is as it was
  kBroken,         // only one direction moved: the connection cannot go on
};
inline constexpr std::size_t kKernelTlsRefusals = 6;
std::string_view KernelTlsRefusalLabel(KernelTlsRefusal refusal);

// Moves both directions of the connection to the kernel; the next record of either
// is the one that `keys` count. `keys` stay with the caller, who needs their
// secrets for a KeyUpdate.
[[nodiscard]] KernelTlsRefusal InstallKernelTls(int fd, const RecordKeys& keys,
                                                const SocketOptionCalls& calls);

// Give the kernel the changed key of one direction. Zero or errno (EBUSY: this
// kernel cannot).
[[nodiscard]] int ChangeReceiveKey(int fd, const RecordKeys& keys, const SocketOptionCalls& calls);
[[nodiscard]] int ChangeSendKey(int fd, const RecordKeys& keys, const SocketOptionCalls& calls);

// How many records the kernel has sent under the present key.
[[nodiscard]] std::optional<std::uint64_t> RecordsSent(int fd, Suite suite,
                                                       const SocketOptionCalls& calls);

struct KernelTlsSupport {
  bool available = false;
  bool rekeys = false;  // takes new keys in place
  std::string why;      // one line for people: what is missing, or what there is
};
// Tries it all on a connection of the loopback interface: AES-GCM with both key
// lengths in both directions, and changing a key.
[[nodiscard]] KernelTlsSupport ProbeKernelTls(const SocketOptionCalls& calls);

// --- records other than data (RFC 8446 section 5.1: alert 21, handshake 22) ---

struct alignas(cmsghdr) RecordTypeBuffer {
  std::array<std::uint8_t, CMSG_SPACE(1)> bytes{};
};
// Makes `message`, whose iovec holds the content, a record of `type`. `buffer`
// must live as long as `message`.
void SetRecordType(msghdr& message, RecordTypeBuffer& buffer, std::uint8_t type);

struct ControlRecord {
  int error = 0;          // errno of recvmsg
  std::uint8_t type = 0;  // 0 at the end of the stream
  std::size_t size = 0;   // of the content, in the memory given
};
// The record that a plain receive failed on, without waiting. Data may be fetched
// by it as well (type 23). `memory` has kMaxPlaintext bytes.
[[nodiscard]] ControlRecord ReceiveControlRecord(int fd, MutableBytes memory);

}  // namespace ringscale::core::tls
