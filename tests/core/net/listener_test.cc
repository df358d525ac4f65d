#include "core/net/listener.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>

#include "core/net/socket_options.h"
#include "core/net/udp_socket.h"

namespace ringscale::core::net {
namespace {

int Option(int fd, int level, int option) {
  int value = 0;
  socklen_t length = sizeof value;
  EXPECT_EQ(getsockopt(fd, level, option, &value, &length), 0);
  return value;
}

// 0 or an errno.
int ConnectTo(const SocketAddress& address, Fd& out) {
  out = Fd(socket(address.ip.is_v6() ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage native{};
  const socklen_t length = address.ToNative(native, false);
  return connect(out.get(), reinterpret_cast<sockaddr*>(&native), length) == 0 ? 0 : errno;
}

bool HasIpv6() {
  const auto fd = OpenTcpListener({SocketAddress::Parse("[::1]:0").value()});
  return fd.has_value();
}

TEST(ListenAddress, Parses) {
  const auto every = ParseListenAddress(":8080");
  ASSERT_TRUE(every.has_value());
  EXPECT_FALSE(every->address.ip.valid());
  EXPECT_EQ(every->address.port, 8080);
  EXPECT_EQ(every->text(), ":8080");
  for (const char* text : {"127.0.0.1:80", "[::1]:443", "[::]:0", "0.0.0.0:65535"}) {
    const auto parsed = ParseListenAddress(text);
    ASSERT_TRUE(parsed.has_value()) << text;
    EXPECT_EQ(parsed->text(), text);
  }
  for (const char* bad : {"", ":", "8080", "host:80", "::1:80", ":-1", ":65536", ":80 ", "[::1]"}) {
    const auto parsed = ParseListenAddress(bad);
    ASSERT_FALSE(parsed.has_value()) << bad;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalid);
  }
}

TEST(TcpListener, ListensOnOneAddress) {
  const auto listener = OpenTcpListener(ParseListenAddress("127.0.0.1:0").value());
  ASSERT_TRUE(listener.has_value()) << listener.error().message;
  const SocketAddress local = LocalAddress(listener->get());
  EXPECT_NE(local.port, 0);
  EXPECT_NE(fcntl(listener->get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(fcntl(listener->get(), F_GETFD) & FD_CLOEXEC, 0);
  Fd client;
  EXPECT_EQ(ConnectTo(local, client), 0);
  const Fd accepted(accept(listener->get(), nullptr, nullptr));
  EXPECT_NE(Option(accepted.get(), IPPROTO_TCP, TCP_NODELAY), 0);
  EXPECT_EQ(PeerAddress(accepted.get()), LocalAddress(client.get()));
}

TEST(TcpListener, WithoutAddressServesBothFamilies) {
  const auto listener = OpenTcpListener(ParseListenAddress(":0").value());
  ASSERT_TRUE(listener.has_value()) << listener.error().message;
  const std::uint16_t port = LocalAddress(listener->get()).port;
  Fd client;
  EXPECT_EQ(ConnectTo({IpAddress::Parse("127.0.0.1").value(), port}, client), 0);
  const Fd accepted(accept(listener->get(), nullptr, nullptr));
  EXPECT_EQ(PeerAddress(accepted.get()).ip.text(), "127.0.0.1");  // not the mapped form
  if (!HasIpv6()) GTEST_SKIP() << "no IPv6 here";
  EXPECT_EQ(ConnectTo({IpAddress::Parse("::1").value(), port}, client), 0);
}

TEST(TcpListener, SaysThatAnAddressIsTaken) {
  const auto first = OpenTcpListener(ParseListenAddress("127.0.0.1:0").value());
  ASSERT_TRUE(first.has_value());
  const auto second = OpenTcpListener({LocalAddress(first->get())});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
  EXPECT_TRUE(second.error().message.contains("in use"));
}

TEST(TcpListener, SaysThatAnAddressIsNotOurs) {
  const auto listener = OpenTcpListener(ParseListenAddress("192.0.2.1:0").value());
  ASSERT_FALSE(listener.has_value());
  EXPECT_EQ(listener.error().code, ErrorCode::kInvalid);
}

TEST(TcpListener, IsFreeAgainAtOnce) {
  auto first = OpenTcpListener(ParseListenAddress("127.0.0.1:0").value());
  ASSERT_TRUE(first.has_value());
  const SocketAddress local = LocalAddress(first->get());
  Fd client;
  ASSERT_EQ(ConnectTo(local, client), 0);
  // Our side closes first: its port waits in TIME_WAIT.
  Fd(accept(first->get(), nullptr, nullptr)).Reset();
  first->Reset();
  EXPECT_TRUE(OpenTcpListener({local}).has_value());
}

TEST(SocketOptions, AreSetAndInherited) {
  const auto listener = OpenTcpListener(ParseListenAddress("127.0.0.1:0").value());
  ASSERT_TRUE(listener.has_value());
  TcpOptions options;
  options.user_timeout = Seconds(15);
  options.keep_alive = TcpOptions::KeepAlive{Seconds(20), Millis(1500), 4};
  options.not_sent_low_water = 128 * 1024;
  ASSERT_TRUE(ApplyTcpOptions(listener->get(), options).has_value());
  Fd client;
  ASSERT_EQ(ConnectTo(LocalAddress(listener->get()), client), 0);
  const Fd accepted(accept(listener->get(), nullptr, nullptr));
  EXPECT_EQ(Option(accepted.get(), IPPROTO_TCP, TCP_USER_TIMEOUT), 15'000);
  EXPECT_NE(Option(accepted.get(), SOL_SOCKET, SO_KEEPALIVE), 0);
  EXPECT_EQ(Option(accepted.get(), IPPROTO_TCP, TCP_KEEPIDLE), 20);
  EXPECT_EQ(Option(accepted.get(), IPPROTO_TCP, TCP_KEEPINTVL), 2);
  EXPECT_EQ(Option(accepted.get(), IPPROTO_TCP, TCP_KEEPCNT), 4);
  EXPECT_EQ(Option(accepted.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT), 128 * 1024);
  EXPECT_FALSE(ApplyTcpOptions(-1, options).has_value());
}

TEST(AdoptSocket, KnowsWhatItGot) {
  auto listener = OpenTcpListener(ParseListenAddress("127.0.0.1:0").value());
  ASSERT_TRUE(listener.has_value());
  const SocketAddress local = LocalAddress(listener->get());
  fcntl(listener->get(), F_SETFL, 0);
  fcntl(listener->get(), F_SETFD, 0);
  const auto adopted = AdoptSocket(std::move(*listener), "web");
  ASSERT_TRUE(adopted.has_value()) << adopted.error().message;
  EXPECT_EQ(adopted->kind, InheritedSocket::Kind::kTcpListener);
  EXPECT_EQ(adopted->local, local);
  EXPECT_EQ(adopted->name, "web");
  EXPECT_NE(fcntl(adopted->fd.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(fcntl(adopted->fd.get(), F_GETFD) & FD_CLOEXEC, 0);

  const auto udp = AdoptSocket(Fd(socket(AF_INET, SOCK_DGRAM, 0)), "");
  ASSERT_TRUE(udp.has_value());
  EXPECT_EQ(udp->kind, InheritedSocket::Kind::kUdp);
  EXPECT_NE(Option(udp->fd.get(), IPPROTO_IP, IP_PKTINFO), 0);

  EXPECT_FALSE(AdoptSocket(Fd(socket(AF_INET, SOCK_STREAM, 0)), "").has_value());
  EXPECT_FALSE(AdoptSocket(Fd(open("/dev/null", O_RDONLY | O_CLOEXEC)), "").has_value());
}

// In a child process: the descriptors 3 and 4 must be what systemd would pass.
TEST(ActivatedSockets, AreTakenOnce) {
  auto listener = OpenTcpListener(ParseListenAddress("127.0.0.1:0").value());
  auto udp = OpenUdpSocket(ParseListenAddress("127.0.0.1:0").value());
  ASSERT_TRUE(listener.has_value() && udp.has_value());
  const int first = fcntl(listener->get(), F_DUPFD, 100);
  const int second = fcntl(udp->fd.get(), F_DUPFD, 100);
  const pid_t child = fork();
  if (child == 0) {
    dup2(first, 3);
    dup2(second, 4);
    setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
    setenv("LISTEN_FDS", "2", 1);
    setenv("LISTEN_FDNAMES", "http:stun", 1);
    auto sockets = TakeActivatedSockets();
    const bool good =
        sockets.has_value() && sockets->size() == 2 && (*sockets)[0].name == "http" &&
        (*sockets)[0].kind == InheritedSocket::Kind::kTcpListener && (*sockets)[1].name == "stun" &&
        (*sockets)[1].kind == InheritedSocket::Kind::kUdp && getenv("LISTEN_FDS") == nullptr;
    const auto again = TakeActivatedSockets();
    _exit(good && again.has_value() && again->empty() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  close(first);
  close(second);
}

TEST(ActivatedSockets, ForSomebodyElseAreNotOurs) {
  setenv("LISTEN_PID", "1", 1);
  setenv("LISTEN_FDS", "1", 1);
  const auto sockets = TakeActivatedSockets();
  ASSERT_TRUE(sockets.has_value());
  EXPECT_TRUE(sockets->empty());
  setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
  setenv("LISTEN_FDS", "100000", 1);
  EXPECT_FALSE(TakeActivatedSockets().has_value());
}

// Sends to `target`, answers from the address it was sent to, returns who answered.
SocketAddress AskAndAnswer(const UdpSocket& server, const std::string& target) {
  const std::uint16_t port = LocalAddress(server.fd.get()).port;
  const SocketAddress to{IpAddress::Parse(target).value(), port};
  const Fd client(socket(to.ip.is_v6() ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage native{};
  socklen_t length = to.ToNative(native, false);
  EXPECT_EQ(sendto(client.get(), "?", 1, 0, reinterpret_cast<sockaddr*>(&native), length), 1);

  fcntl(server.fd.get(), F_SETFL, 0);
  sockaddr_storage sender{};
  alignas(8) std::array<std::uint8_t, kPacketInfoSpace> control{};
  char byte = 0;
  iovec vec{&byte, 1};
  msghdr message{};
  message.msg_name = &sender;
  message.msg_namelen = sizeof sender;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  message.msg_iov = &vec;
  message.msg_iovlen = 1;
  EXPECT_EQ(recvmsg(server.fd.get(), &message, 0), 1);
  const auto info = ReadPacketInfo(MutableBytes(control.data(), message.msg_controllen));
  EXPECT_TRUE(info.has_value());
  if (!info) return {};
  EXPECT_EQ(info->local, to.ip);
  EXPECT_NE(info->interface_index, 0u);

  alignas(8) std::array<std::uint8_t, kPacketInfoSpace> answer_control{};
  message.msg_control = answer_control.data();
  message.msg_controllen = WritePacketInfo(*info, server.v6_socket, answer_control);
  EXPECT_EQ(sendmsg(server.fd.get(), &message, 0), 1);
  length = sizeof native;
  EXPECT_EQ(recvfrom(client.get(), &byte, 1, 0, reinterpret_cast<sockaddr*>(&native), &length), 1);
  return SocketAddress::FromNative(native);
}

TEST(UdpSocket, AnswersFromTheAddressItWasAskedAt) {
  for (const char* listen : {"0.0.0.0:0", ":0"}) {
    const auto server = OpenUdpSocket(ParseListenAddress(listen).value());
    ASSERT_TRUE(server.has_value()) << server.error().message;
    // The second one is not what routing would choose.
    EXPECT_EQ(AskAndAnswer(*server, "127.0.0.1").ip.text(), "127.0.0.1");
    EXPECT_EQ(AskAndAnswer(*server, "127.7.7.7").ip.text(), "127.7.7.7");
    if (server->v6_socket && HasIpv6()) {
      EXPECT_EQ(AskAndAnswer(*server, "::1").ip.text(), "::1");
    }
  }
}

TEST(UdpSocket, OneBoundToOneAddressHasNothingToTell) {
  const auto one = OpenUdpSocket(ParseListenAddress("127.7.7.7:0").value());
  ASSERT_TRUE(one.has_value()) << one.error().message;
  EXPECT_FALSE(HasPacketInfo(one->fd.get()));
  const auto all = OpenUdpSocket(ParseListenAddress(":0").value());
  ASSERT_TRUE(all.has_value()) << all.error().message;
  EXPECT_TRUE(HasPacketInfo(all->fd.get()));
}

TEST(UdpSocket, APortBelongsToOneProcess) {
  const auto first = OpenUdpSocket(ParseListenAddress("127.0.0.1:0").value());
  ASSERT_TRUE(first.has_value());
  const auto second = OpenUdpSocket({LocalAddress(first->fd.get())});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kConflict);
}

TEST(PacketInfo, NothingToSayIsNothing) {
  alignas(8) std::array<std::uint8_t, kPacketInfoSpace> control{};
  EXPECT_EQ(WritePacketInfo({}, true, control), 0u);
  EXPECT_EQ(WritePacketInfo({IpAddress::Parse("::1").value(), 1}, false, control), 0u);
  EXPECT_FALSE(ReadPacketInfo({}).has_value());
  EXPECT_FALSE(ReadPacketInfo(control).has_value());
}

}  // namespace
}  // namespace ringscale::core::net
