// The hand-over of sockets between two servers, both sides in one process.
#include "tools/serverd/take_over.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <future>

#include "core/net/socket_options.h"
#include "core/net/udp_socket.h"
#include "tests/support/temp_folder.h"
#include "tests/tools/local_server.h"

namespace ringscale::serverd {
namespace {

using testing::LocalServer;

class TakeOverTest : public ::testing::Test {
 protected:
  TakeOverTest()
      : server_(nullptr, [this](AdminSocket& socket) {
          socket.AddTakeOver(
              "POST", kTakeOverPath,
              [this](core::Fd connection, const core::net::PeerCredentials&,
                     const control::AdminRequest&) { hand_over_->Begin(std::move(connection)); });
        }) {
    const core::net::ListenAddress loopback{
        {.ip = *core::IpAddress::Parse("127.0.0.1"), .port = 0}};
    tcp_ = std::move(*core::net::OpenTcpListener(loopback));
    udp_ = std::move(core::net::OpenUdpSocket(loopback)->fd);
    server_.OnLoop([this] {
      hand_over_ = std::make_unique<HandOver>(
          server_.loop(),
          [this] {
            return std::vector<HandOver::Socket>{
                {.label = {.use = SocketUse::kClients, .address = ":8080"}, .fd = tcp_.get()},
                {.label = {.use = SocketUse::kStun, .address = ":3478"}, .fd = udp_.get()}};
          },
          [this] { stopped_.set_value(); });
    });
  }
  ~TakeOverTest() override {
    server_.OnLoop([this] { hand_over_.reset(); });
  }
  // Once the loop has seen what happened before.
  bool Complete() {
    return server_.OnLoop([this] { return hand_over_->complete(); });
  }

  LocalServer server_;
  core::Fd tcp_;
  core::Fd udp_;
  std::promise<void> stopped_;
  std::unique_ptr<HandOver> hand_over_;
};

ino_t InodeOf(int fd) {
  struct stat status{};
  EXPECT_EQ(fstat(fd, &status), 0);
  return status.st_ino;
}

TEST_F(TakeOverTest, PassesTheSocketsAndStopsWhenTold) {
  auto asked = TakeOver::Ask(server_.path());
  ASSERT_TRUE(asked) << asked.error().message;
  ASSERT_TRUE(*asked);
  const auto sockets = (*asked)->TakeSockets();
  ASSERT_EQ(sockets.size(), 2u);
  EXPECT_EQ(sockets[0].label.use, SocketUse::kClients);
  EXPECT_EQ(sockets[0].label.address, ":8080");
  EXPECT_EQ(InodeOf(sockets[0].fd.get()), InodeOf(tcp_.get()));
  EXPECT_EQ(sockets[1].label.use, SocketUse::kStun);
  EXPECT_EQ(InodeOf(sockets[1].fd.get()), InodeOf(udp_.get()));
  EXPECT_FALSE(Complete());
  ASSERT_TRUE((*asked)->TellToStop());
  stopped_.get_future().wait();
  EXPECT_TRUE(Complete());
}

TEST_F(TakeOverTest, OnlyOneAtATime) {
  auto first = TakeOver::Ask(server_.path());
  ASSERT_TRUE(first && *first);
  const auto second = TakeOver::Ask(server_.path());
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("taking over this server already"), std::string::npos)
      << second.error().message;
}

TEST_F(TakeOverTest, WhoGoesWithoutAWordChangesNothing) {
  {
    ASSERT_TRUE(TakeOver::Ask(server_.path()));
  }
  // The next one is refused until the loop has seen the first one go.
  while (true) {
    auto again = TakeOver::Ask(server_.path());
    if (!again) continue;
    EXPECT_FALSE(Complete());
    ASSERT_TRUE((*again)->TellToStop());
    break;
  }
  stopped_.get_future().wait();
}

TEST(TakeOver, NobodyToTakeOverFrom) {
  const tests::TempFolder folder;
  const auto asked = TakeOver::Ask(folder / "none.sock");
  ASSERT_TRUE(asked);
  EXPECT_FALSE(*asked);
}

// A server that answers these bytes, whatever it is asked.
std::string AnswerTo(std::string_view bytes) {
  const tests::TempFolder folder;
  auto listener = core::net::UnixListener::Open(folder / "odd.sock", {});
  EXPECT_TRUE(listener);
  auto asked = std::async(std::launch::async, [&] { return TakeOver::Ask(listener->path()); });
  core::Fd connection;
  while (!connection.valid()) {
    connection = core::Fd(accept4(listener->fd(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  EXPECT_EQ(send(connection.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
  char request[512];
  EXPECT_GT(recv(connection.get(), request, sizeof request, 0), 0);
  shutdown(connection.get(), SHUT_WR);
  const auto result = asked.get();
  return result ? "" : result.error().message;
}

TEST(TakeOver, AnswersThatMakeNoSense) {
  constexpr std::string_view kSwitching =
      "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
      "Upgrade: ringscale-sockets\r\n\r\n";
  EXPECT_NE(AnswerTo("").find("does not hand over"), std::string::npos);
  EXPECT_NE(
      AnswerTo("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nno such x").find("no such x"),
      std::string::npos);
  for (const char* line :
       {"nonsense\n", "{}\n", "[]\n", "{\"sockets\":[{\"use\":\"clients\"}]}\n"}) {
    EXPECT_NE(AnswerTo(std::string(kSwitching) + line).find("makes no sense"), std::string::npos)
        << line;
  }
  EXPECT_NE(AnswerTo(std::string(kSwitching) + std::string(100'000, 'x')), "");
}

}  // namespace
}  // namespace ringscale::serverd
