// A certificate of our own changes: what is shown in a handshake is never another one
// than clients have been told the pin of.
#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "tests/support/noise_client.h"
#include "tests/tools/control_plane_support.h"

namespace ringscale::serverd {
namespace {

class PinOrder : public ControlPlaneTest {
 protected:
  static constexpr core::Duration kSecond = core::Seconds(1);
  static constexpr std::uint32_t kWide = 1 << 20;

  // A client with a window of that many bytes listens to its map stream.
  void Begin(std::uint32_t window) {
    config_.derp.host = "zero.example.com";
    AddNode();
    Start();
    Connect(window);
    ASSERT_TRUE(Told(in_use_.back()));
    on_use_ = [this] {
      ASSERT_TRUE(client_->Feed(loop_.TakeSent(stream_)));
      in_time_ = in_time_ && Told(in_use_.back());
    };
  }
  static core::PrivateKey Machine() {
    std::array<std::uint8_t, 32> raw{};
    raw.fill(0x18);
    return core::PrivateKey::FromRaw(raw);
  }
  void AddNode() {
    ringscale::testing::FakeLoop loop;
    control::Registry registry(loop, store_, {});
    ASSERT_TRUE(registry.Load());
    registry.CreateUser({.name = "alice", .display_name = {}, .email = {}, .picture_url = {}},
                        [](const core::Result<control::UserId>&) {});
    control::NodeRegistration machine;
    machine.machine_key = Machine().PublicAs<core::MachinePublic>();
    machine.node_key.raw.fill(7);
    machine.capability_version = 145;
    machine.hostinfo = R"({"Hostname":"one"})";
    registry.RegisterForUser(
        machine, 1, storage::RegisterMethod::kCli,
        [](const core::Result<control::Registered>& done) { ASSERT_TRUE(done); });
    loop.Turn();
    node_key_ = machine.node_key.text();
  }
  void Connect(std::uint32_t window) {
    client_.emplace(true, window);
    ringscale::testing::NoisePair pair;
    auto accepted = pair.Connect(*client_, Machine());
    map_ = client_->http.Request(
        "POST", "/machine/map",
        R"({"Version":145,"Stream":true,"KeepAlive":true,"NodeKey":")" + node_key_ + "\"}");
    plane_->Accept({.fd = core::Fd(),
                    .remote = {*core::IpAddress::Parse("192.0.2.1"), 1000},
                    .session = std::move(accepted.session),
                    .machine_key = accepted.machine_key,
                    .protocol_version = accepted.protocol_version,
                    .plaintext = client_->http.TakeOutput(),
                    .host = "control.example",
                    .https = false});
    stream_ = loop_.last_stream();
    Talk();
  }
  void Talk() {
    while (true) {
      loop_.Turn();
      const std::string down = loop_.TakeSent(stream_);
      if (!down.empty()) {
        ASSERT_TRUE(client_->Feed(down));
      }
      const std::string up = client_->TakeWire();
      if (!up.empty()) loop_.Arrive(stream_, up);
      if (up.empty() && down.empty()) return;
    }
  }
  // The last pin that the client has heard of is this one.
  bool Told(const std::string& leaf) {
    const std::string& maps = client_->http.answers[map_].body;
    const auto last = maps.rfind("sha256-raw:");
    return last != std::string::npos && maps.compare(last + 11, leaf.size(), leaf) == 0;
  }
  void ReloadWith(const std::string& derp_host) {
    config_.derp.host = derp_host;
    const auto done = plane_->Reload(config_);
    ASSERT_TRUE(done) << done.error().message;
  }

  std::string node_key_;
  std::optional<ringscale::testing::NoiseH2Client> client_;
  core::engine::StreamId stream_;
  std::int32_t map_ = 0;
  bool in_time_ = true;
};

TEST_F(PinOrder, ClientsHearOfItFirst) {
  Begin(kWide);
  ReloadWith("one.example.com");
  loop_.Advance(kSecond);
  EXPECT_EQ(in_use_.size(), 2U);
  EXPECT_TRUE(in_time_);
}

TEST_F(PinOrder, AlsoOfOneThatFollowsAtOnce) {
  Begin(kWide);
  ReloadWith("one.example.com");
  loop_.Advance(kSecond - core::Millis(5));
  ReloadWith("two.example.com");
  loop_.Advance(kSecond);
  EXPECT_EQ(in_use_.size(), 2U) << "one that nobody is told of any more was shown";
  EXPECT_TRUE(in_time_);
}

// A client that is still taking an older message has not heard of it; one that takes
// nothing any more does not keep the certificate from being used.
TEST_F(PinOrder, ASlowClientIsWaitedFor) {
  Begin(200);  // less than a DERP map takes
  ReloadWith("one.example.com");
  loop_.Advance(kSecond * 3);
  EXPECT_EQ(in_use_.size(), 1U);
  Talk();
  loop_.Advance(kSecond);
  EXPECT_EQ(in_use_.size(), 2U);
  EXPECT_TRUE(in_time_);

  on_use_ = nullptr;
  ReloadWith("two.example.com");
  loop_.Advance(kSecond * 60);
  EXPECT_EQ(in_use_.size(), 3U);
}

}  // namespace
}  // namespace ringscale::serverd
