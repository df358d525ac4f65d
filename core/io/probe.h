// Which ring this machine allows, found out by trying.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace ringscale::core::io {

// Ok when io_uring does everything that UringRing needs (Linux 6.1): set-up
// flags, buffer rings, multishot accept, receive and recvmsg, cancelling by
// descriptor, messages between rings; each is really tried, in a few hundred
// microseconds. The error says what is missing, why (a kernel without io_uring, a
// kernel too old, a seccomp profile, the sysctl kernel.io_uring_disabled) and
// what to do about it.
Result<> ProbeIoUring();

enum class RingKind : std::uint8_t { kUring, kEpoll };

std::string_view RingKindName(RingKind kind);  // "io_uring", "epoll"

// What all rings of the process use: io_uring where ProbeIoUring() allows it,
// else epoll, which is said once in the log. `force_epoll`, or the environment
// RINGSCALE_RING=epoll, skips the probe. The answer of the first probe is kept.
RingKind ChooseRing(bool force_epoll = false);

namespace internal {

// What could explain a refused io_uring_setup.
struct SetupFailure {
  int error = 0;                // of io_uring_setup with all flags
  int error_without_flags = 0;  // of io_uring_setup with none; 0 = that worked
  int sysctl_disabled = -1;     // kernel.io_uring_disabled; -1 = not there
  std::string release;          // uname -r
};
Error ExplainSetupFailure(const SetupFailure& failure);

}  // namespace internal

}  // namespace ringscale::core::io
