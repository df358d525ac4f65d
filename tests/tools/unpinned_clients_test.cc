// Clients that do not know the pin of the server's own certificate: the log says once
// what each needs.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "core/obs/log.h"
#include "tests/tools/control_plane_support.h"

namespace ringscale::serverd {
namespace {

class UnpinnedClients : public ControlPlaneTest {
 protected:
  UnpinnedClients() : log_(::open(LogPath().c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600)) {
    core::SetLogDescriptor(log_.get());
  }
  ~UnpinnedClients() override {
    plane_.reset();
    core::SetLogDescriptor(STDERR_FILENO);
  }

  // In the store: a node that is online with a client of this version.
  void AddNode(std::uint8_t number, std::uint32_t capability) {
    ringscale::testing::FakeLoop loop;
    control::Registry registry(loop, store_, {});
    ASSERT_TRUE(registry.Load());
    if (registry.users().empty()) {
      registry.CreateUser({.name = "alice", .display_name = {}, .email = {}, .picture_url = {}},
                          [](const core::Result<control::UserId>&) {});
    }
    control::NodeRegistration machine;
    machine.machine_key.raw.fill(number);
    machine.node_key.raw.fill(number);
    machine.capability_version = capability;
    machine.hostinfo = R"({"Hostname":"host)" + std::to_string(number) + "\"}";
    control::NodeId id = 0;
    registry.RegisterForUser(
        machine, 1, storage::RegisterMethod::kCli,
        [&](const core::Result<control::Registered>& done) { id = done ? done->id : 0; });
    loop.Turn();
    ASSERT_NE(id, 0U);
    registry.ReportNode(id, {.capability_version = capability, .streaming = true},
                        [](const core::Result<>&) {});
    registry.StreamOpened(id);
    registry.Flush([](const core::Result<>&) {});
    loop.Turn();
  }
  // Lines of the log with this text.
  [[nodiscard]] std::size_t Lines(const std::string& text) const {
    core::FlushLog();
    std::ifstream in(LogPath());
    std::size_t count = 0;
    for (std::string line; std::getline(in, line);) count += line.find(text) != std::string::npos;
    return count;
  }
  [[nodiscard]] std::string LogPath() const { return folder_ / "log"; }

  core::Fd log_;
};

TEST_F(UnpinnedClients, TheLogSaysOnceWhatTheyNeed) {
  AddNode(1, 113);
  AddNode(2, 142);
  Start();
  for (int i = 0; i < 5; ++i) loop_.Advance(core::Seconds(10));
  EXPECT_EQ(Lines("does not know certificate pins"), 1U);
  EXPECT_EQ(Lines("(Tailscale 1.80) does not know certificate pins: it uses the relay without "
                  "checking its certificate. Update it to 1.82"),
            1U);
  EXPECT_EQ(Lines("node=host1"), Lines("id=1"));
}

TEST_F(UnpinnedClients, WhoMayNotUseTheRelayUncheckedIsToldSo) {
  AddNode(1, 113);
  config_.derp.insecure_for_old_clients = false;
  Start();
  EXPECT_EQ(Lines("cannot use the relay"), 1U);
}

TEST_F(UnpinnedClients, BehindAProxyThereIsNoPin) {
  AddNode(1, 113);
  config_.server_url = "https://net.example.com";
  Start();
  EXPECT_EQ(Lines("certificate pins"), 0U);
}

}  // namespace
}  // namespace ringscale::serverd
