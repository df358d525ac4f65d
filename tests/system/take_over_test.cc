// A running server is replaced by a new process again and again while clients
// connect: none is refused, reset or left without an answer.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/engine/loop.h"
#include "tests/support/temp_folder.h"
#include "tests/system/server_process.h"

namespace ringscale::tests {
namespace {

// Connects at a steady rate, asks one question per connection, keeps count.
class Visitors {
 public:
  Visitors(core::engine::Loop& loop, const core::SocketAddress& address, const std::string& host)
      : loop_(loop),
        address_(address),
        request_("GET /health HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n") {}

  void Start() {
    begun_ = loop_.Now();
    GoOn();
  }
  // No more visits; the loop stops when all have been answered.
  void End() {
    ending_ = true;
    if (open_.empty()) loop_.Stop();
  }
  [[nodiscard]] std::size_t answered() const { return answered_.load(); }
  // Until that many have been answered. Any thread.
  void WaitFor(std::size_t answered) const {
    for (std::size_t now = answered_; now < answered; now = answered_) answered_.wait(now);
  }
  [[nodiscard]] std::size_t unanswered() const { return open_.size(); }
  [[nodiscard]] const std::vector<std::string>& failures() const { return failures_; }

 private:
  struct Visitor final : core::engine::StreamHandler {
    explicit Visitor(Visitors& visitors) : owner(visitors) {}
    void OnReceive(core::engine::StreamId, core::MutableBytes bytes) override {
      answer += core::AsText(bytes);
    }
    void OnClosed(core::engine::StreamId stream, int error) override {
      owner.Left(stream.value, error, answer);
    }
    Visitors& owner;
    std::string answer;
  };

  // As many as should have come by now, one each millisecond.
  void GoOn() {
    if (ending_) return;
    const auto due = static_cast<std::size_t>((loop_.Now() - begun_).millis());
    for (; visits_ < due; ++visits_) Visit();
    loop_.After(core::Millis(1), [this] { GoOn(); });
  }
  void Visit() {
    core::Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_storage native{};
    const socklen_t length = address_.ToNative(native, false);
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&native), length) != 0 &&
        errno != EINPROGRESS) {
      failures_.push_back(core::FailErrno("connect", errno).error().message);
      return;
    }
    auto visitor = std::make_unique<Visitor>(*this);
    const auto stream = loop_.Attach(std::move(fd), *visitor);
    open_.emplace(stream.value, std::move(visitor));
    // As over a network: between connecting and asking there is a way to go. A
    // stale id, when the server closed meanwhile, is ignored.
    loop_.After(core::Millis(5), [this, stream] { loop_.Send(stream, request_); });
  }
  void Left(std::uint64_t stream, int error, const std::string& answer) {
    if (error != 0 || !answer.starts_with("HTTP/1.1 200 ") || !answer.ends_with('}')) {
      failures_.push_back(fmt::format("error {}, answer \"{}\"", error, answer));
    } else {
      ++answered_;
      answered_.notify_all();
    }
    gone_ = std::move(open_.extract(stream).mapped());
    if (ending_ && open_.empty()) loop_.Stop();
  }

  core::engine::Loop& loop_;
  const core::SocketAddress address_;
  const std::string request_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Visitor>> open_;
  std::unique_ptr<Visitor> gone_;  // whose callback is still running
  std::vector<std::string> failures_;
  std::atomic<std::size_t> answered_ = 0;
  core::Instant begun_;
  std::size_t visits_ = 0;
  bool ending_ = false;
};

class TakeOverTest : public testing::Test {
 protected:
  void SetUp() override {
    server_ = std::make_unique<ServerProcess>(folder_, ServerProcess::Sockets::kOwn);
    const auto started = server_->Start();
    ASSERT_TRUE(started) << started.error().message;
  }
  void TearDown() override { server_.reset(); }

  const TempFolder temp_;
  const std::string& folder_ = temp_.path();
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(TakeOverTest, NobodyIsRefusedOrResetDuringUpgrades) {
  constexpr int kUpgrades = 10;
  constexpr std::size_t kBetween = 500;
  ASSERT_TRUE(server_->Command("users create alice"));
  core::engine::LoopOptions options;
  options.name = "visitors";
  auto loop = core::engine::CreateLoop(options);
  ASSERT_TRUE(loop) << loop.error().message;
  Visitors visitors(**loop, server_->address(), server_->host());
  visitors.Start();
  std::vector<std::size_t> during;
  std::thread upgrades([&] {
    for (int i = 0; i < kUpgrades; ++i) {
      const std::size_t before = visitors.answered();
      const auto old_status = server_->Replace();
      EXPECT_TRUE(old_status) << old_status.error().message;
      if (!old_status) break;
      EXPECT_EQ(*old_status, 0);
      during.push_back(visitors.answered() - before);
      visitors.WaitFor(visitors.answered() + kBetween);
    }
    EXPECT_TRUE((*loop)->Post([&] { visitors.End(); }));
  });
  (*loop)->Run();
  upgrades.join();
  EXPECT_EQ(during.size(), static_cast<std::size_t>(kUpgrades));
  for (const std::size_t count : during) EXPECT_GT(count, 0u) << "an upgrade that nobody met";
  EXPECT_EQ(visitors.unanswered(), 0u);
  EXPECT_EQ(visitors.failures().size(), 0u) << visitors.failures().front() << "\n"
                                            << server_->LogTail();
  fmt::print("{} connections during {} upgrades, all answered\n", visitors.answered(), kUpgrades);
  const auto users = server_->Command("users list");
  ASSERT_TRUE(users) << users.error().message;
  EXPECT_NE(users->find("alice"), std::string::npos);
  EXPECT_EQ(server_->Terminate(), 0);
}

TEST_F(TakeOverTest, ASuccessorThatCannotStartLeavesTheServerAlone) {
  // An address that this machine does not have (RFC 5737).
  const auto failed = server_->Command("serve --take-over --listen 192.0.2.1:8080");
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message.find("192.0.2.1:8080"), std::string::npos)
      << failed.error().message;
  EXPECT_TRUE(server_->Command("health"));
  EXPECT_TRUE(server_->Command("configtest")) << "can be asked before an upgrade";
  // Without the flag two servers never share their data.
  const auto second = server_->Command("serve");
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message.find("another ringscale uses the data directory"),
            std::string::npos)
      << second.error().message;
  const auto replaced = server_->Replace();
  ASSERT_TRUE(replaced) << replaced.error().message;
  EXPECT_EQ(*replaced, 0);
  EXPECT_EQ(server_->Terminate(), 0);
}

TEST(ActivatedSockets, AreUsedAndStayWithTheirGiver) {
  const TempFolder folder;
  {
    ServerProcess server(folder.path());
    for (int i = 0; i < 2; ++i) {
      const auto started = server.Start();
      ASSERT_TRUE(started) << started.error().message;
      EXPECT_TRUE(server.Command("health"));
      EXPECT_EQ(server.Terminate(), 0);
    }
    // One that took over from an activated server leaves the files alone, too.
    ASSERT_TRUE(server.Start());
    ASSERT_TRUE(server.Replace());
    EXPECT_EQ(server.Terminate(), 0);
    const auto started = server.Start();
    EXPECT_TRUE(started) << started.error().message;
    EXPECT_TRUE(server.Command("health"));
  }
}

}  // namespace
}  // namespace ringscale::tests
