#include "control/auth/registration.h"

#include <gtest/gtest.h>

#include "tests/control/state_support.h"

namespace ringscale::control::testing {
namespace {

class Auth : public ::testing::Test {
 protected:
  // What one request was answered, and how often.
  struct Answer {
    std::shared_ptr<std::vector<RegisterResponse>> responses =
        std::make_shared<std::vector<RegisterResponse>>();
    Registration::Ticket ticket = 0;

    [[nodiscard]] bool held() const { return responses->empty(); }
    [[nodiscard]] RegisterResponse get() const {
      EXPECT_EQ(responses->size(), 1U);
      return responses->empty() ? RegisterResponse{} : responses->front();
    }
    [[nodiscard]] std::string error() const { return get().error; }
    [[nodiscard]] std::string url() const { return get().auth_url; }
    [[nodiscard]] std::string id() const {
      const std::string text = url();
      return text.substr(std::min(text.size(), text.rfind('/') + 1));
    }
    [[nodiscard]] bool success() const {
      const RegisterResponse r = get();
      return r.error.empty() && r.auth_url.empty() && !r.node_key_expired && r.machine_authorized;
    }
  };

  void SetUp() override {
    alice = tailnet.AddUser("alice");
    auth = std::make_unique<Registration>(tailnet.loop(), tailnet.registry(), PendingLimits{});
  }
  void TearDown() override { auth.reset(); }

  static RegisterRequest Request(std::uint64_t node_key) {
    RegisterRequest request;
    request.version = 140;
    request.node_key = NodeKey(node_key);
    request.hostinfo = R"({"Hostname":"host","OS":"linux"})";
    return request;
  }
  Answer Ask(std::uint64_t machine, const RegisterRequest& request,
             const char* source = "192.0.2.1") {
    Answer answer;
    answer.ticket = auth->Handle(
        request,
        {.machine_key = Machine(machine),
         .source = *core::IpAddress::Parse(source),
         .auth_url =
             [](std::string_view id) { return "https://vpn.example/register/" + std::string(id); }},
        [responses = answer.responses](RegisterResponse r) { responses->push_back(std::move(r)); });
    tailnet.Settle();
    return answer;
  }
  Answer Follow(std::uint64_t machine, std::uint64_t node_key, const std::string& url) {
    RegisterRequest request = Request(node_key);
    request.followup = url;
    return Ask(machine, request);
  }
  std::string Approve(const std::string& id, UserId user) {
    Outcome<NodeId> outcome;
    auth->Register(id, user, storage::RegisterMethod::kCli, outcome.Callback());
    tailnet.Settle();
    if (outcome.Error().empty()) last_node = *outcome.Get();
    return outcome.Error();
  }
  std::string Key(bool reusable = true, bool ephemeral = false) {
    return tailnet
        .AddKey(
            {.user = alice, .reusable = reusable, .ephemeral = ephemeral, .expiry = {}, .tags = {}})
        .text;
  }
  core::WallTime LoggedOut() { return {123'000'000'000}; }  // what clients send

  Tailnet tailnet;
  UserId alice = 0;
  NodeId last_node = 0;
  std::unique_ptr<Registration> auth;
};

// --- decision order ---

TEST_F(Auth, OldClientsReadBothVersions) {
  RegisterRequest request = Request(1);
  request.version = 109;
  request.auth_key = Key();
  const std::string error = Ask(1, request).error();
  EXPECT_NE(error.find("1.78 (109)"), std::string::npos);
  EXPECT_NE(error.find("1.80 (113)"), std::string::npos);
  EXPECT_TRUE(tailnet.registry().nodes().empty());
  request.version = 113;
  EXPECT_TRUE(Ask(1, request).success());
}

TEST_F(Auth, KeyGivesANode) {
  RegisterRequest request = Request(1);
  request.auth_key = Key();
  const RegisterResponse response = Ask(1, request).get();
  EXPECT_EQ(response.user_id, alice);
  EXPECT_EQ(response.login_name, "alice");
  EXPECT_EQ(response.display_name, "alice");
  EXPECT_TRUE(response.machine_authorized);
  EXPECT_FALSE(response.node_key_expired);
  EXPECT_EQ(response.auth_url, "");
}

TEST_F(Auth, TaggedNodesBelongToTaggedDevices) {
  RegisterRequest request = Request(1);
  request.auth_key =
      tailnet
          .AddKey(
              {.user = 0, .reusable = true, .ephemeral = false, .expiry = {}, .tags = {"tag:web"}})
          .text;
  const RegisterResponse response = Ask(1, request).get();
  EXPECT_EQ(response.user_id, kTaggedDevicesUser);
  EXPECT_EQ(response.login_name, "tagged-devices");
  EXPECT_EQ(response.display_name, "Tagged Devices");
}

TEST_F(Auth, RefusalsAreSentences) {
  RegisterRequest request = Request(1);
  request.auth_key = "hskey-auth-nonsense";
  EXPECT_EQ(Ask(1, request).error(), "invalid pre auth key");
  request.auth_key = Key(false);
  EXPECT_TRUE(Ask(1, request).success());
  request.node_key = NodeKey(2);
  EXPECT_EQ(Ask(2, request).error(), "authkey already used");
}

TEST_F(Auth, RestartOfAKnownNode) {
  tailnet.AddNode(alice, 1);
  const auto commits = tailnet.store().commits();
  EXPECT_TRUE(Ask(1, Request(1)).success());
  EXPECT_EQ(tailnet.store().commits(), commits);
  EXPECT_EQ(Ask(2, Request(1)).error(), "node exists with a different machine key");
}

TEST_F(Auth, ExpiredNodeIsToldSoThenGetsAnAddress) {
  const NodeId id = tailnet.AddNode(alice, 1);
  EXPECT_EQ(
      tailnet.Do([&](Completion<> done) { tailnet.registry().ExpireNodeNow(id, std::move(done)); }),
      "");
  const RegisterResponse expired = Ask(1, Request(1)).get();
  EXPECT_TRUE(expired.node_key_expired);
  EXPECT_FALSE(expired.machine_authorized);
  RegisterRequest request = Request(2);
  request.old_node_key = NodeKey(1);
  EXPECT_NE(Ask(1, request).url(), "");
}

TEST_F(Auth, AskingToExpireSooner) {
  const NodeId id = tailnet.AddNode(alice, 1);
  RegisterRequest request = Request(1);
  request.expiry = tailnet.loop().Wall() + core::Seconds(100);
  EXPECT_TRUE(Ask(1, request).success());
  EXPECT_EQ(tailnet.Get(id).row.expiry, request.expiry);
  request.expiry = tailnet.loop().Wall() + core::Seconds(101);
  EXPECT_EQ(Ask(1, request).error(), "extending key is not allowed");
}

TEST_F(Auth, LogoutComesBeforeTheKey) {
  const NodeId id = tailnet.AddNode(alice, 1);
  RegisterRequest request = Request(1);
  request.expiry = LoggedOut();
  request.auth_key = Key();
  EXPECT_EQ(Ask(2, request).error(), "node exists with a different machine key");
  const RegisterResponse response = Ask(1, request).get();
  EXPECT_EQ(response.error, "");
  EXPECT_TRUE(response.node_key_expired);
  EXPECT_EQ(tailnet.Get(id).row.expiry, tailnet.loop().Wall()) << "not the second 123";
  tailnet.loop().Advance(core::Seconds(10));
  const auto commits = tailnet.store().commits();
  EXPECT_TRUE(Ask(1, request).get().node_key_expired);
  EXPECT_EQ(tailnet.store().commits(), commits);
}

TEST_F(Auth, LogoutOfAnUnknownNodeRegistersNothing) {
  RegisterRequest request = Request(1);
  request.expiry = LoggedOut();
  request.auth_key = Key();
  const RegisterResponse response = Ask(1, request).get();
  EXPECT_EQ(response.error, "");
  EXPECT_TRUE(response.node_key_expired);
  EXPECT_TRUE(tailnet.registry().nodes().empty());
  EXPECT_EQ(auth->pending(), 0U);
}

TEST_F(Auth, LogoutDeletesEphemeralNodes) {
  RegisterRequest request = Request(1);
  request.auth_key = Key(true, true);
  EXPECT_TRUE(Ask(1, request).success());
  request.expiry = LoggedOut();
  EXPECT_TRUE(Ask(1, request).get().node_key_expired);
  EXPECT_TRUE(tailnet.registry().nodes().empty());
}

// --- login ---

TEST_F(Auth, LoginIsApprovedWhileTheClientWaits) {
  const Answer first = Ask(1, Request(1));
  EXPECT_TRUE(IsAuthId(first.id()));
  EXPECT_EQ(first.url(), "https://vpn.example/register/" + first.id());
  EXPECT_EQ(auth->FindPending(first.id())->hostname, "host");
  const Answer held = Follow(1, 1, first.url());
  EXPECT_TRUE(held.held());
  EXPECT_EQ(Approve(first.id(), alice), "");
  EXPECT_TRUE(held.success());
  EXPECT_EQ(held.get().user_id, alice);
  EXPECT_EQ(auth->pending(), 0U);
  EXPECT_EQ(tailnet.Get(last_node).row.method, storage::RegisterMethod::kCli);
  EXPECT_EQ(Approve(first.id(), alice), "node not found in registration cache");
}

TEST_F(Auth, LoginIsApprovedWhileTheClientIsAway) {
  const Answer first = Ask(1, Request(1));
  const Answer gone = Follow(1, 1, first.url());
  auth->Cancel(gone.ticket);
  EXPECT_EQ(Approve(first.id(), alice), "");
  EXPECT_TRUE(gone.held()) << "its reply must not be called any more";
  EXPECT_TRUE(Follow(1, 1, first.url()).success());
}

TEST_F(Auth, PendingLoginsSurviveReconnects) {
  const Answer first = Ask(1, Request(1));
  for (int i = 0; i < 3; ++i) {
    const Answer held = Follow(1, 1, first.url());
    EXPECT_TRUE(held.held());
    auth->Cancel(held.ticket);
    auth->Cancel(held.ticket);
  }
  const Answer held = Follow(1, 1, first.url());
  EXPECT_EQ(Approve(first.id(), alice), "");
  EXPECT_TRUE(held.success());
}

TEST_F(Auth, OneHeldRequestPerMachine) {
  const Answer first = Ask(1, Request(1));
  const Answer older = Follow(1, 1, first.url());
  const Answer newer = Follow(1, 1, first.url());
  EXPECT_EQ(older.error(), "registration timed out");
  EXPECT_TRUE(newer.held());
  EXPECT_EQ(Approve(first.id(), alice), "");
  EXPECT_TRUE(newer.success());
}

TEST_F(Auth, TheSameAttemptKeepsItsAddress) {
  const Answer first = Ask(1, Request(1));
  EXPECT_EQ(Ask(1, Request(1)).url(), first.url());
  EXPECT_NE(Ask(1, Request(2)).url(), first.url());
  EXPECT_NE(Ask(2, Request(3)).url(), first.url());
  // All of them work, the one opened first too.
  EXPECT_EQ(Approve(first.id(), alice), "");
}

TEST_F(Auth, UnknownAndForeignFollowupsGetANewAddress) {
  const std::string unknown = "https://vpn.example/register/hskey-authreq-0123456789abcdef01234567";
  const Answer fresh = Follow(1, 1, unknown);
  EXPECT_NE(fresh.url(), "");
  EXPECT_NE(fresh.url(), unknown);
  const Answer thief = Follow(2, 2, fresh.url());
  EXPECT_NE(thief.url(), "");
  EXPECT_NE(thief.url(), fresh.url());
  EXPECT_TRUE(Follow(1, 1, fresh.url()).held());
}

TEST_F(Auth, MalformedFollowups) {
  for (const std::string& url :
       {std::string("x"), std::string("https://vpn.example/"),
        std::string("ftp://x/register/hskey-authreq-0123456789abcdef01234567"),
        "https://x/" + std::string(3000, 'a') +
            "/register/hskey-authreq-0123456789abcdef01234567"}) {
    EXPECT_EQ(Follow(1, 1, url).error(), "invalid followup URL") << url;
  }
  EXPECT_EQ(Follow(1, 1, "https://vpn.example/register/nonsense").error(),
            "invalid registration ID");
}

TEST_F(Auth, AWaitingClientGetsAFreshAddressWhenItsLoginExpires) {
  const Answer first = Ask(1, Request(1));
  const Answer held = Follow(1, 1, first.url());
  tailnet.loop().Advance(core::Seconds(15 * 60 - 1));
  EXPECT_TRUE(held.held());
  tailnet.loop().Advance(core::Seconds(1));
  EXPECT_NE(held.url(), "");
  EXPECT_NE(held.url(), first.url());
  EXPECT_EQ(Approve(first.id(), alice), "node not found in registration cache");
  const Answer again = Follow(1, 1, held.url());
  EXPECT_EQ(Approve(held.id(), alice), "");
  EXPECT_TRUE(again.success());
}

TEST_F(Auth, LoginsNobodyWaitsForExpireQuietly) {
  for (std::uint64_t i = 1; i <= 10; ++i) {
    Ask(i, Request(i));
    tailnet.loop().Advance(core::Seconds(10));
  }
  EXPECT_EQ(auth->pending(), 10U);
  tailnet.loop().Advance(core::Seconds(15 * 60));
  EXPECT_EQ(auth->pending(), 0U);
}

TEST_F(Auth, AStrangerPushesOutOnlyItsOwn) {
  const Answer mine = Ask(1, Request(1), "192.0.2.1");
  const Answer waiting = Follow(1, 1, mine.url());
  const Answer strangers_first = Ask(100, Request(100), "198.51.100.1");
  const Answer strangers_wait = Follow(100, 100, strangers_first.url());
  for (std::uint64_t i = 101; i < 200; ++i) Ask(i, Request(i), "198.51.100.1");
  EXPECT_EQ(auth->pending(), 17U);
  EXPECT_TRUE(waiting.held());
  EXPECT_EQ(strangers_wait.error(), "registration expired");
  EXPECT_EQ(Approve(mine.id(), alice), "");
}

TEST_F(Auth, Rejection) {
  const Answer first = Ask(1, Request(1));
  const Answer held = Follow(1, 1, first.url());
  EXPECT_TRUE(auth->Reject(first.id()));
  EXPECT_EQ(held.error(), "registration rejected");
  EXPECT_EQ(auth->Reject(first.id()).error().message, "no pending auth session");

  // While the client is away: it is told when it comes, once.
  const Answer second = Ask(1, Request(1));
  EXPECT_TRUE(auth->Reject(second.id()));
  EXPECT_EQ(Approve(second.id(), alice), "node not found in registration cache");
  EXPECT_EQ(Follow(1, 1, second.url()).error(), "registration rejected");
  EXPECT_NE(Follow(1, 1, second.url()).url(), "");
}

TEST_F(Auth, OperatorMistakes) {
  const Answer first = Ask(1, Request(1));
  EXPECT_NE(Approve("nonsense", alice).find("invalid auth_id"), std::string::npos);
  EXPECT_NE(Approve(first.id(), 99).find("looking up user"), std::string::npos);
  EXPECT_NE(auth->Approve("nonsense").error().message.find("invalid auth_id"), std::string::npos);
  EXPECT_NE(auth->Reject("nonsense").error().message.find("invalid auth_id"), std::string::npos);
  EXPECT_EQ(auth->Approve("hskey-authreq-0123456789abcdef01234567").error().message,
            "no pending auth session");
  EXPECT_NE(auth->Approve(first.id()).error().message.find("--user"), std::string::npos);
  EXPECT_EQ(auth->pending(), 1U);
}

TEST_F(Auth, OldCommandLinesNameTheKey) {
  Ask(1, Request(1));
  EXPECT_EQ(Approve(Machine(1).text(), alice), "");
  Ask(2, Request(2));
  EXPECT_EQ(Approve(NodeKey(2).text(), alice), "");
  EXPECT_EQ(Approve(NodeKey(2).text(), alice), "node not found in registration cache");
}

TEST_F(Auth, RefusedByTheRegistryTheLoginStays) {
  RegisterRequest request = Request(1);
  request.hostinfo = R"({"Hostname":"host","RequestTags":["tag:x"]})";
  const Answer first = Ask(1, request);
  request.followup = first.url();
  const Answer held = Ask(1, request);
  EXPECT_EQ(Approve(first.id(), alice), "requested tags [tag:x] are invalid or not permitted");
  EXPECT_TRUE(held.held());
  EXPECT_EQ(auth->pending(), 1U);
}

TEST_F(Auth, BadHostinfoStartsNoLogin) {
  RegisterRequest request = Request(1);
  request.hostinfo = "[]";
  EXPECT_NE(Ask(1, request).error().find("Hostinfo"), std::string::npos);
  EXPECT_EQ(auth->pending(), 0U);
}

// --- with a store that takes its time ---

class SlowAuth : public ::testing::Test {
 protected:
  Tailnet tailnet{{}, Tailnet::Mode::kManual};
  UserId alice = tailnet.AddUser("alice");
  std::string key =
      tailnet
          .AddKey({.user = alice, .reusable = true, .ephemeral = false, .expiry = {}, .tags = {}})
          .text;
  std::optional<Registration> auth{std::in_place, tailnet.loop(), tailnet.registry()};
  std::vector<RegisterResponse> responses;

  Registration::Ticket Ask(RegisterRequest request) {
    request.version = 140;
    request.node_key = NodeKey(1);
    return auth->Handle(
        request,
        {.machine_key = Machine(1),
         .source = *core::IpAddress::Parse("192.0.2.1"),
         .auth_url = [](std::string_view id) { return "https://x/register/" + std::string(id); }},
        [this](RegisterResponse r) { responses.push_back(std::move(r)); });
  }
};

TEST_F(SlowAuth, AnswersAfterTheCommit) {
  RegisterRequest request;
  request.auth_key = key;
  Ask(request);
  tailnet.Settle();
  EXPECT_TRUE(responses.empty());
  tailnet.CommitAll();
  ASSERT_EQ(responses.size(), 1U);
  EXPECT_EQ(responses[0].error, "");
}

TEST_F(SlowAuth, AFailedCommitIsAnError) {
  RegisterRequest request;
  request.auth_key = key;
  Ask(request);
  tailnet.store().FailNext({core::ErrorCode::kIo, "disk full"});
  tailnet.Settle();
  ASSERT_EQ(responses.size(), 1U);
  EXPECT_EQ(responses[0].error, "disk full");
}

TEST_F(SlowAuth, CancelledOrDestroyedBeforeTheCommit) {
  RegisterRequest request;
  request.auth_key = key;
  auth->Cancel(Ask(request));
  tailnet.CommitAll();
  EXPECT_TRUE(responses.empty());
  EXPECT_EQ(tailnet.registry().nodes().size(), 1U) << "what was asked for is done";
  request.expiry = core::WallTime{123'000'000'000};
  Ask(request);
  auth.reset();
  tailnet.CommitAll();
  EXPECT_TRUE(responses.empty());
}

TEST_F(SlowAuth, FinishingTwiceIsAConflict) {
  Ask({});
  ASSERT_EQ(responses.size(), 1U);
  const std::string id = responses[0].auth_url.substr(responses[0].auth_url.rfind('/') + 1);
  Outcome<NodeId> first;
  Outcome<NodeId> second;
  auth->Register(id, alice, storage::RegisterMethod::kCli, first.Callback());
  auth->Register(id, alice, storage::RegisterMethod::kCli, second.Callback());
  EXPECT_EQ(second.Get().error().code, core::ErrorCode::kConflict);
  EXPECT_FALSE(auth->Reject(id));
  // Expired meanwhile: the node is there all the same.
  tailnet.loop().Advance(core::Seconds(15 * 60));
  tailnet.CommitAll();
  EXPECT_EQ(first.Error(), "");
  EXPECT_EQ(tailnet.registry().nodes().size(), 1U);
}

}  // namespace
}  // namespace ringscale::control::testing
