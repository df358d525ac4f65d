#include "bench/lib/tun_host.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

namespace ringscale::bench {
namespace {

constexpr char kDevice[] = "tun0";
// Far more than a flow has under way: what is measured is not to be this queue.
constexpr int kDeviceQueue = 16384;

sockaddr_in AddressOf(std::uint8_t number, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(0xc0000200u | number);
  return address;
}

ifreq Request() {
  ifreq request{};
  std::memcpy(request.ifr_name, kDevice, sizeof(kDevice));
  return request;
}

core::Result<> SetAddress(int socket, unsigned long what, const sockaddr_in& address) {
  ifreq request = Request();
  std::memcpy(&request.ifr_addr, &address, sizeof(address));
  if (ioctl(socket, what, &request) != 0) return core::FailErrno("address of a TUN device", errno);
  return {};
}

core::Result<> Configure(std::uint8_t number, int mtu) {
  const core::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return core::FailErrno("socket", errno);
  if (auto set = SetAddress(socket.get(), SIOCSIFADDR, AddressOf(number, 0)); !set) return set;
  sockaddr_in mask{};
  mask.sin_family = AF_INET;
  mask.sin_addr.s_addr = htonl(0xffffff00u);
  if (auto set = SetAddress(socket.get(), SIOCSIFNETMASK, mask); !set) return set;
  ifreq request = Request();
  request.ifr_mtu = mtu;
  if (ioctl(socket.get(), SIOCSIFMTU, &request) != 0) {
    return core::FailErrno("MTU of a TUN device", errno);
  }
  request = Request();
  request.ifr_qlen = kDeviceQueue;
  if (ioctl(socket.get(), SIOCSIFTXQLEN, &request) != 0) {
    return core::FailErrno("queue of a TUN device", errno);
  }
  request = Request();
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) {
    return core::FailErrno("starting a TUN device", errno);
  }
  return {};
}

core::Result<core::Fd> OpenTun() {
  core::Fd tun(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tun.valid()) return core::FailErrno("/dev/net/tun", errno);
  ifreq request = Request();
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (ioctl(tun.get(), TUNSETIFF, &request) != 0) {
    return core::FailErrno("making a TUN device", errno);
  }
  return tun;
}

core::Result<core::Fd> MakeSocket() {
  core::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return core::FailErrno("socket", errno);
  return fd;
}

}  // namespace

core::Result<TunHost> TunHost::Create(std::uint8_t number, int mtu) {
  TunHost host;
  host.number_ = number;
  core::Result<> made;
  // A thread that ends afterwards: only it is moved to the new namespace.
  std::thread([&] {
    if (unshare(CLONE_NEWNET) != 0) {
      made = core::FailErrno("a network namespace for TCP through the relay (needs root)", errno);
      return;
    }
    host.space_ = core::Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!host.space_.valid()) {
      made = core::FailErrno("/proc/thread-self/ns/net", errno);
      return;
    }
    auto tun = OpenTun();
    if (!tun) {
      made = core::Forward(tun);
      return;
    }
    host.tun_ = std::move(*tun);
    made = Configure(number, mtu);
  }).join();
  if (!made) return core::Forward(made);
  return host;
}

core::Result<core::Fd> TunHost::Inside(const std::function<core::Result<core::Fd>()>& make) const {
  core::Result<core::Fd> made;
  std::thread([&] {
    made = setns(space_.get(), CLONE_NEWNET) == 0
               ? make()
               : core::Result<core::Fd>(core::FailErrno("entering a network namespace", errno));
  }).join();
  return made;
}

core::Result<core::Fd> TunHost::Listen(std::uint16_t port) const {
  return Inside([&]() -> core::Result<core::Fd> {
    auto fd = MakeSocket();
    if (!fd) return fd;
    const sockaddr_in address = AddressOf(number_, port);
    if (bind(fd->get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
        listen(fd->get(), SOMAXCONN) != 0) {
      return core::FailErrno("listening behind a TUN device", errno);
    }
    return fd;
  });
}

core::Result<core::Fd> TunHost::Connect(std::uint8_t number, std::uint16_t port,
                                        const std::string& congestion) const {
  return Inside([&]() -> core::Result<core::Fd> {
    auto fd = MakeSocket();
    if (!fd) return fd;
    if (setsockopt(fd->get(), IPPROTO_TCP, TCP_CONGESTION, congestion.data(),
                   static_cast<socklen_t>(congestion.size())) != 0) {
      return core::FailErrno("congestion control " + congestion, errno);
    }
    const sockaddr_in address = AddressOf(number, port);
    if (connect(fd->get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 &&
        errno != EINPROGRESS) {
      return core::FailErrno("connecting behind a TUN device", errno);
    }
    return fd;
  });
}

}  // namespace ringscale::bench
