// SSH sessions held until somebody approves.
#include "control/auth/ssh_checks.h"

#include <gtest/gtest.h>

#include "control/wire/ssh_action_path.h"
#include "core/json/reader.h"
#include "tests/control/api_support.h"

namespace ringscale::control::testing {
namespace {

constexpr std::string_view kApproved = R"({"accept":true,"recorders":["100.64.0.9:80"]})";

// What the destination was told.
struct Answer {
  std::string message;
  std::string next;  // holdAndDelegate
  bool rejected = false;
  bool approved = false;
  [[nodiscard]] std::string id() const {
    const auto at = next.find("auth_id=");
    return at == std::string::npos ? "" : next.substr(at + 8);
  }
};

class SshCheckTest : public ::testing::Test {
 protected:
  void SetUp() override {
    alice = tailnet.AddUser("alice");
    bob = tailnet.AddUser("bob");
    laptop = tailnet.AddNode(alice, 1, "laptop");
    phone = tailnet.AddNode(alice, 2, "phone");
    server = tailnet.AddNode(bob, 3, "server");
    Make({});
  }
  void Make(SshCheckLimits limits) {
    checks.emplace(
        tailnet.loop(), tailnet.registry(),
        [this](NodeId, NodeId, std::string_view user) -> std::optional<policy::SshCheck> {
          if (!allowed || user == "mallory") return std::nullopt;
          return policy::SshCheck{.period = period, .approved_action = std::string(kApproved)};
        },
        limits);
  }
  // Its answer appears when there is one.
  std::shared_ptr<std::optional<Answer>> Start(NodeId source, const std::string& id = "",
                                               const std::string& user = "root",
                                               NodeId destination = 0) {
    auto answer = std::make_shared<std::optional<Answer>>();
    ticket = checks->Handle(
        {.source = source,
         .destination = destination == 0 ? server : destination,
         .local_user = user,
         .auth_id = id,
         .page_url = [](std::string_view auth) { return "https://x/auth/" + std::string(auth); }},
        [answer](const std::string& action) {
          EXPECT_FALSE(answer->has_value()) << "answered twice";
          core::json::Parser parser;
          const auto root = parser.Parse(action);
          ASSERT_TRUE(root) << action;
          answer->emplace(
              Answer{.message = std::string((*root)["message"].AsString().value_or("")),
                     .next = std::string((*root)["holdAndDelegate"].AsString().value_or("")),
                     .rejected = (*root)["reject"].AsBool().value_or(false),
                     .approved = action == kApproved});
        });
    return answer;
  }
  Answer Ask(NodeId source, const std::string& id = "", const std::string& user = "root",
             NodeId destination = 0) {
    const auto answer = Start(source, id, user, destination);
    if (!answer->has_value()) {
      ADD_FAILURE() << "held";
      return {};
    }
    return **answer;
  }
  void Pass(int seconds) { tailnet.loop().Advance(core::Seconds(seconds)); }

  Tailnet tailnet;
  UserId alice = 0;
  UserId bob = 0;
  NodeId laptop = 0;
  NodeId phone = 0;
  NodeId server = 0;
  bool allowed = true;
  core::Duration period = core::Seconds(3600);
  SshChecks::Ticket ticket = 0;
  std::optional<SshChecks> checks;
};

TEST_F(SshCheckTest, HeldUntilApprovedAndRemembered) {
  const Answer first = Ask(laptop);
  const std::string id = first.id();
  ASSERT_TRUE(IsAuthId(id));
  EXPECT_EQ(first.next,
            "https://unused/machine/ssh/action/$SRC_NODE_ID/to/$DST_NODE_ID"
            "?local_user=$LOCAL_USER&auth_id=" +
                id);
  EXPECT_NE(first.message.find(" https://x/auth/" + id + "\n"), std::string::npos);
  const auto held = Start(laptop, id);
  EXPECT_FALSE(held->has_value());
  const auto* pending = checks->Find(id);
  ASSERT_NE(pending, nullptr);
  EXPECT_EQ(pending->source, laptop);
  EXPECT_EQ(pending->destination, server);
  EXPECT_EQ(pending->local_user, "root");

  EXPECT_TRUE(checks->Approve(id));
  ASSERT_TRUE(held->has_value());
  EXPECT_TRUE((*held)->approved) << "as the policy says, with its recorders";
  EXPECT_EQ(checks->Find(id), nullptr);
  EXPECT_FALSE(checks->Approve(id)) << "once only";

  EXPECT_TRUE(Ask(laptop).approved);
  EXPECT_FALSE(Ask(phone).approved) << "another device";
  Pass(3599);
  EXPECT_TRUE(Ask(laptop).approved);
  Pass(1);
  EXPECT_NE(Ask(laptop).id(), "");
}

TEST_F(SshCheckTest, Rejected) {
  const std::string id = Ask(laptop).id();
  const auto held = Start(laptop, id);
  EXPECT_TRUE(checks->Reject(id));
  ASSERT_TRUE(held->has_value());
  EXPECT_TRUE((*held)->rejected);
  EXPECT_FALSE(Ask(laptop).approved);
}

TEST_F(SshCheckTest, DecidedWhileNobodyWasHeld) {
  for (const bool approve : {true, false}) {
    period = {};
    const std::string id = Ask(laptop).id();
    EXPECT_TRUE(approve ? checks->Approve(id) : checks->Reject(id));
    EXPECT_EQ(checks->Find(id), nullptr);
    const Answer answer = Ask(laptop, id);
    EXPECT_EQ(answer.approved, approve);
    EXPECT_EQ(answer.rejected, !approve);
    EXPECT_NE(Ask(laptop, id).id(), "") << "told once";
  }
}

TEST_F(SshCheckTest, APeriodOfZeroAsksEveryTime) {
  period = {};
  const std::string id = Ask(laptop).id();
  const auto held = Start(laptop, id);
  EXPECT_TRUE(checks->Approve(id));
  EXPECT_TRUE(held->value_or(Answer{}).approved);
  EXPECT_NE(Ask(laptop).id(), id);
}

TEST_F(SshCheckTest, SessionsOfTheSameTwoShareAnApproval) {
  const std::string id = Ask(laptop).id();
  EXPECT_EQ(Ask(laptop).id(), id);
  EXPECT_NE(Ask(phone).id(), id);
  EXPECT_NE(Ask(laptop, "", "ubuntu").id(), id);
  const auto one = Start(laptop, id);
  const auto two = Start(laptop, id);
  EXPECT_TRUE(checks->Approve(id));
  EXPECT_TRUE(one->value_or(Answer{}).approved);
  EXPECT_TRUE(two->value_or(Answer{}).approved);
}

TEST_F(SshCheckTest, AnIdIsGoodForItsOwnSessionOnly) {
  const std::string id = Ask(laptop).id();
  EXPECT_TRUE(checks->Approve(id));
  period = {};
  EXPECT_FALSE(Ask(phone, id).approved);
  EXPECT_FALSE(Ask(laptop, id, "ubuntu").approved);
  EXPECT_FALSE(Ask(laptop, id, "root", phone).approved);
  EXPECT_TRUE(Ask(laptop, id).approved);
}

TEST_F(SshCheckTest, UnknownAndLostIdsBeginAnew) {
  for (const char* id : {"x", "hskey-authreq-0123456789abcdef01234567"}) {
    const Answer answer = Ask(laptop, id);
    EXPECT_TRUE(IsAuthId(answer.id()));
    EXPECT_NE(answer.id(), id);
  }
}

TEST_F(SshCheckTest, WhatThePolicyDoesNotLetInIsRejected) {
  EXPECT_TRUE(Ask(laptop, "", "mallory").rejected);
  EXPECT_TRUE(Ask(4711).rejected);
  const std::string id = Ask(laptop).id();
  const auto held = Start(laptop, id);
  allowed = false;
  EXPECT_TRUE(checks->Approve(id));
  EXPECT_TRUE(held->value_or(Answer{}).rejected) << "changed while it was held";
  EXPECT_TRUE(Ask(laptop).rejected) << "nor does the approval count";
}

TEST_F(SshCheckTest, AnApprovalIsOfTheOwner) {
  const std::string id = Ask(laptop).id();
  EXPECT_TRUE(checks->Approve(id));
  ASSERT_TRUE(Ask(laptop, id).approved);
  EXPECT_EQ(tailnet.Do([&](Completion<> done) {
    tailnet.registry().SetNodeTags(laptop, {"tag:shared"}, std::move(done));
  }),
            "");
  EXPECT_FALSE(Ask(laptop).approved);
}

TEST_F(SshCheckTest, ExpiresUndecided) {
  const std::string id = Ask(laptop).id();
  const auto held = Start(laptop, id);
  Pass(15 * 60 - 1);
  EXPECT_FALSE(held->has_value());
  EXPECT_NE(checks->Find(id), nullptr);
  Pass(1);
  ASSERT_TRUE(held->has_value());
  EXPECT_TRUE((*held)->rejected);
  EXPECT_EQ(checks->Find(id), nullptr);
  EXPECT_FALSE(checks->Approve(id));
}

TEST_F(SshCheckTest, WhoLeftIsNotAnswered) {
  const std::string id = Ask(laptop).id();
  const auto held = Start(laptop, id);
  checks->Cancel(ticket);
  checks->Cancel(4711);
  EXPECT_TRUE(checks->Approve(id));
  EXPECT_FALSE(held->has_value());
}

TEST_F(SshCheckTest, PendingOnesAreBounded) {
  Make({.total = 4, .per_source = 2, .per_destination = 3, .held = 2});
  const std::string first = Ask(laptop, "", "a").id();
  const auto held = Start(laptop, first, "a");
  Pass(1);
  const std::string second = Ask(laptop, "", "b").id();
  Pass(1);
  const std::string third = Ask(laptop, "", "c").id();
  EXPECT_TRUE(held->value_or(Answer{}).rejected) << "the oldest of this source";
  EXPECT_EQ(checks->Find(first), nullptr);
  Pass(1);
  Ask(phone, "", "a");
  EXPECT_NE(checks->Find(second), nullptr);
  Pass(1);
  Ask(phone, "", "b");
  EXPECT_EQ(checks->Find(second), nullptr) << "the oldest of this destination";
  Pass(1);
  Ask(server, "", "a", phone);
  EXPECT_NE(checks->Find(third), nullptr);
  Pass(1);
  Ask(server, "", "b", phone);
  EXPECT_EQ(checks->Find(third), nullptr) << "the oldest of all";
}

TEST_F(SshCheckTest, HeldAndRememberedOnesAreBounded) {
  Make({.total = 4, .per_source = 2, .per_destination = 3, .held = 2});
  const std::string id = Ask(laptop).id();
  const auto one = Start(laptop, id);
  const auto two = Start(laptop, id);
  const auto three = Start(laptop, id);
  EXPECT_TRUE(one->value_or(Answer{}).rejected);
  EXPECT_TRUE(checks->Approve(id));
  EXPECT_TRUE(two->value_or(Answer{}).approved);
  EXPECT_TRUE(three->value_or(Answer{}).approved);
}

TEST_F(SshCheckTest, ApprovalsOutliveTheServer) {
  EXPECT_TRUE(checks->Approve(Ask(laptop).id()));
  Pass(1);
  tailnet.Settle();
  checks.reset();
  tailnet.Restart();
  Make({});
  EXPECT_TRUE(Ask(laptop).approved);
  EXPECT_FALSE(Ask(phone).approved);
  Pass(3600);
  EXPECT_FALSE(Ask(laptop).approved) << "its time is over";
  EXPECT_EQ(tailnet.Do(
                [&](Completion<> done) { tailnet.registry().DeleteNode(server, std::move(done)); }),
            "");
  EXPECT_FALSE(tailnet.registry().SshApproved(server, {.source = laptop, .owner = alice}, period));
}

TEST_F(SshCheckTest, ApprovalsOfANodeAreBounded) {
  Registry& registry = tailnet.registry();
  for (NodeId source = 1000; source <= 1000 + kKeptSshApprovals; ++source) {
    registry.NoteSshApproval(server, {.source = source, .owner = alice});
    Pass(1);
  }
  EXPECT_FALSE(registry.SshApproved(server, {.source = 1000, .owner = alice}, period))
      << "the oldest is forgotten";
  EXPECT_TRUE(registry.SshApproved(server, {.source = 1001, .owner = alice}, period));
  EXPECT_FALSE(registry.SshApproved(server, {.source = 1001, .owner = bob}, period));
}

TEST(SshActionPath, NamesBothEnds) {
  const auto ends = ParseSshActionPath("/machine/ssh/action/7/to/18446744073709551615");
  ASSERT_TRUE(ends);
  EXPECT_EQ(ends->source, 7U);
  EXPECT_EQ(ends->destination, UINT64_MAX);
  for (const char* path :
       {"", "/machine/ssh/action/", "/machine/ssh/action/7", "/machine/ssh/action/7/to/",
        "/machine/ssh/action//to/7", "/machine/ssh/action/7/to/8/", "/machine/ssh/action/7/to/-8",
        "/machine/ssh/action/7/to/18446744073709551616", "/machine/ssh/action/0x7/to/8",
        "/machine/ssh/action/$SRC_NODE_ID/to/$DST_NODE_ID", "/machine/ssh/notify/7/to/8"}) {
    EXPECT_FALSE(ParseSshActionPath(path)) << path;
  }
}

TEST_F(SshCheckTest, OperatorsDecideByTheApi) {
  AdminApiOptions options;
  options.ssh_checks = &*checks;
  ApiFixture api({}, options);
  for (const std::string verdict : {"approve", "reject"}) {
    period = {};
    const std::string id = Ask(laptop).id();
    const auto held = Start(laptop, id);
    const Reply reply = api.Post("/api/v1/auth/" + verdict, R"({"authId":")" + id + "\"}");
    EXPECT_EQ(reply.status, 200) << reply.body;
    EXPECT_EQ(held->value_or(Answer{}).approved, verdict == "approve");
    EXPECT_EQ(held->value_or(Answer{}).rejected, verdict == "reject");
    EXPECT_EQ(api.Post("/api/v1/auth/" + verdict, R"({"authId":")" + id + "\"}").status, 404);
  }
}

}  // namespace
}  // namespace ringscale::control::testing
