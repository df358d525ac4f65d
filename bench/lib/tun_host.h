// A host inside this process: a network namespace of its own whose only link is a
// TUN device. What the kernel's TCP sends there is read from the device, and what
// is written to the device arrives. Ends with its descriptors; nothing is left on
// the machine.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/base/fd.h"
#include "core/base/result.h"

namespace ringscale::bench {

class TunHost {
 public:
  // `number`: its address is 192.0.2.<number>, the whole 192.0.2.0/24 is behind the
  // device. Needs CAP_SYS_ADMIN and /dev/net/tun.
  static core::Result<TunHost> Create(std::uint8_t number, int mtu);

  // One IP packet a read or write; non-blocking.
  [[nodiscard]] int tun() const { return tun_.get(); }

  // Non-blocking sockets of this host.
  [[nodiscard]] core::Result<core::Fd> Listen(std::uint16_t port) const;
  // Connecting, to another host behind the device; `congestion` is the algorithm that
  // controls its window.
  [[nodiscard]] core::Result<core::Fd> Connect(std::uint8_t number, std::uint16_t port,
                                               const std::string& congestion) const;

 private:
  [[nodiscard]] core::Result<core::Fd> Inside(
      const std::function<core::Result<core::Fd>()>& make) const;

  std::uint8_t number_ = 0;
  core::Fd space_;
  core::Fd tun_;
};

}  // namespace ringscale::bench
