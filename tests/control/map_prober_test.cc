// Probes of routers that share a subnet, on a clock that the test turns.
#include <gtest/gtest.h>

#include "control/map/route_prober.h"
#include "tests/control/state_support.h"

namespace ringscale::control::testing {
namespace {

constexpr std::string_view kPath = "/machine/ping-response?id=";

class Prober : public ::testing::Test {
 protected:
  void SetUp() override {
    alice = tailnet.AddUser("alice");
    a = Router(1, "10.1.0.0/16");
    b = Router(2, "10.1.0.0/16");
  }
  NodeId Router(std::uint64_t number, const std::string& routes) {
    const NodeId id =
        tailnet.AddNode(alice, number, "router", ",\"RoutableIPs\":[\"" + routes + "\"]");
    EXPECT_EQ(tailnet.Do([&](Completion<> done) {
      registry().ApproveRoutes(id, {Prefix(routes)}, std::move(done));
    }),
              "");
    return id;
  }
  // Probes are answered at once by whoever is plugged in.
  void Start(ProbeOptions options = {}) {
    prober.emplace(
        tailnet.loop(), registry(),
        RouteProber::Hooks{
            .ping = [this](NodeId id, std::string_view path) { return OnPing(id, path); },
            .storm_draining = [this] { return storm; }},
        std::move(options));
    prober->Start();
  }
  bool OnPing(NodeId id, std::string_view path) {
    if (unready.contains(id)) return false;
    EXPECT_TRUE(path.starts_with(kPath)) << path;
    const std::string probe(path.substr(kPath.size()));
    EXPECT_TRUE(ids.insert(probe).second) << "a new id each time";
    ++asked[id];
    last[id] = probe;
    if (unplugged.contains(id)) return true;
    EXPECT_TRUE(tailnet.loop().Post([this, id, probe] { EXPECT_TRUE(Answer(id, probe)); }));
    return true;
  }
  bool Answer(NodeId id, const std::string& probe) {
    return prober->OnAnswer(probe, tailnet.Get(id).row.machine_key);
  }
  void Online(NodeId id) { registry().StreamOpened(id); }
  void Pass(double seconds) {
    tailnet.loop().Advance(core::Millis(static_cast<std::int64_t>(seconds * 1000)));
  }
  NodeId Primary() { return registry().PrimaryFor(Prefix("10.1.0.0/16")); }
  Registry& registry() { return tailnet.registry(); }

  Tailnet tailnet;
  UserId alice = 0;
  NodeId a = 0;
  NodeId b = 0;
  std::set<NodeId> unplugged;
  std::set<NodeId> unready;
  std::set<std::string> ids;
  std::map<NodeId, int> asked;
  std::map<NodeId, std::string> last;
  bool storm = false;
  std::optional<RouteProber> prober;
};

TEST_F(Prober, OnlyWhoSharesASubnetIsAsked) {
  const NodeId other = Router(3, "10.2.0.0/16");
  const NodeId laptop = tailnet.AddNode(alice, 4);
  Start();
  Online(a);
  Online(other);
  Online(laptop);
  Pass(60);
  EXPECT_TRUE(asked.empty());
  Online(b);
  Pass(60);
  EXPECT_GE(asked[a], 10);
  EXPECT_LE(asked[a], 12);
  EXPECT_GE(asked[b], 10);
  EXPECT_EQ(asked.size(), 2U);
  EXPECT_EQ(Primary(), a);
}

TEST_F(Prober, OtherIntervalsAreTakenOver) {
  Start({.interval = {}});
  Online(a);
  Online(b);
  Pass(20);
  EXPECT_TRUE(asked.empty());
  prober->Reconfigure(core::Seconds(5), core::Seconds(3), 2);
  Pass(20);
  EXPECT_FALSE(asked.empty());
  unplugged.insert(a);
  Pass(13);
  ASSERT_TRUE(tailnet.Get(a).unresponsive);
  prober->Reconfigure({}, core::Seconds(3), 2);
  EXPECT_FALSE(tailnet.Get(a).unresponsive) << "nobody would find out that it answers again";
  asked.clear();
  Pass(20);
  EXPECT_TRUE(asked.empty());
}

TEST_F(Prober, ThePulledCable) {
  Start();
  Online(a);
  Online(b);
  Pass(20);
  ASSERT_EQ(Primary(), a);
  unplugged.insert(a);
  Pass(13);
  EXPECT_EQ(Primary(), b);
  EXPECT_TRUE(tailnet.Get(a).unresponsive);
  EXPECT_TRUE(tailnet.Get(a).online) << "its connection has not ended yet";
  // It is asked on, and when it answers it is ready for the next time: no fail-back.
  unplugged.clear();
  Pass(9);
  EXPECT_FALSE(tailnet.Get(a).unresponsive);
  EXPECT_EQ(Primary(), b);
  unplugged.insert(b);
  Pass(13);
  EXPECT_EQ(Primary(), a);
}

TEST_F(Prober, OneMissedAnswerIsNotEnough) {
  Start();
  Online(a);
  Online(b);
  Pass(10);
  const int before = asked[a];
  unplugged.insert(a);
  while (asked[a] == before) Pass(0.5);
  unplugged.clear();
  tailnet.recorder().Take();
  Pass(60);
  EXPECT_EQ(Primary(), a);
  EXPECT_TRUE(tailnet.recorder().Take().empty()) << "nobody heard of it";
}

TEST_F(Prober, WhenNobodyAnswersThePrimaryStays) {
  Start();
  Online(a);
  Online(b);
  Pass(10);
  unplugged = {a, b};
  Pass(60);
  EXPECT_TRUE(tailnet.Get(a).unresponsive);
  EXPECT_TRUE(tailnet.Get(b).unresponsive);
  EXPECT_TRUE(Primary() == a || Primary() == b);
  unplugged = {a};
  Pass(10);
  EXPECT_EQ(Primary(), b);
}

TEST_F(Prober, WhoDisconnectsIsReplacedAtOnce) {
  Start();
  Online(a);
  Online(b);
  Pass(10);
  registry().StreamClosed(a);
  Pass(1);
  EXPECT_EQ(Primary(), b);
  EXPECT_TRUE(tailnet.Get(a).online) << "within the grace";
  Online(a);
  Pass(1);
  EXPECT_FALSE(tailnet.Get(a).unresponsive);
  EXPECT_EQ(Primary(), b);
}

TEST_F(Prober, AQuickReconnectMovesNothing) {
  Start();
  Online(a);
  Online(b);
  Pass(10);
  registry().StreamClosed(a);
  Pass(0.3);
  Online(a);
  Pass(10);
  EXPECT_EQ(Primary(), a);
}

TEST_F(Prober, OfflineAndBackIsHealthy) {
  Start();
  Online(a);
  Online(b);
  Pass(10);
  unplugged.insert(a);
  Pass(15);
  registry().StreamClosed(a);
  Pass(12);
  EXPECT_FALSE(tailnet.Get(a).online);
  EXPECT_FALSE(tailnet.Get(a).unresponsive);
  unplugged.clear();
  Online(a);
  Pass(10);
  EXPECT_EQ(Primary(), b);
  EXPECT_FALSE(tailnet.Get(a).unresponsive);
}

TEST_F(Prober, RoutersOfTheServerBeforeHaveTheirTimeToReturn) {
  Online(a);
  Online(b);
  Pass(6);
  ASSERT_EQ(Primary(), a);
  tailnet.Restart();
  Start();
  Online(b);
  Pass(30);
  EXPECT_EQ(Primary(), a);
  Online(a);
  Pass(30);
  EXPECT_EQ(Primary(), a);
}

TEST_F(Prober, AnAnswerCountsOnceAndFromTheMachineAsked) {
  unplugged = {a, b};
  Online(a);
  Online(b);
  Start();
  ASSERT_EQ(asked[a], 1);
  const std::string probe = last[a];
  EXPECT_FALSE(Answer(b, probe));
  EXPECT_FALSE(Answer(a, probe + "0"));
  EXPECT_FALSE(Answer(a, ""));
  EXPECT_TRUE(Answer(a, probe));
  EXPECT_FALSE(Answer(a, probe));
  EXPECT_FALSE(Answer(a, "")) << "nothing is under way";
}

TEST_F(Prober, SilenceDuringAStormMeansNothing) {
  Start();
  Online(a);
  Online(b);
  Pass(10);
  storm = true;
  unplugged = {a};
  Pass(60);
  EXPECT_EQ(Primary(), a);
  storm = false;
  Pass(13);
  EXPECT_EQ(Primary(), b);
}

TEST_F(Prober, WhoCannotBeAskedYetHasMissedNothing) {
  unready = {a};
  Start();
  Online(a);
  Online(b);
  Pass(60);
  EXPECT_EQ(asked[a], 0);
  EXPECT_EQ(Primary(), a);
}

TEST_F(Prober, OptionsAndTheEnd) {
  Start({.interval = core::Seconds(30), .timeout = core::Seconds(10), .misses = 1});
  Online(a);
  Online(b);
  Pass(31);
  unplugged = {a};
  Pass(25);
  EXPECT_EQ(Primary(), a);
  Pass(20);
  EXPECT_EQ(Primary(), b);
  prober->Stop();
  unplugged = {b};
  registry().StreamClosed(b);
  Pass(9);
  EXPECT_EQ(Primary(), b);
  EXPECT_FALSE(tailnet.Get(b).unresponsive) << "a server that stops concludes nothing";
}

TEST_F(Prober, AnIntervalOfZeroAsksNobody) {
  Start({.interval = {}});
  Online(a);
  Online(b);
  unplugged = {a};
  Pass(60);
  EXPECT_TRUE(asked.empty());
  EXPECT_EQ(Primary(), a);
}

}  // namespace
}  // namespace ringscale::control::testing
