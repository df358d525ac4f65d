// Every way to write a command: what is asked of the server, and what comes out.
#include <gtest/gtest.h>

#include "tests/tools/ctl_support.h"

namespace ringscale::ctl::testing {
namespace {

using Asked = std::vector<std::string>;

constexpr const char* kAlice =
    R"({"id":"1","name":"alice","createdAt":"2026-01-01T10:00:00Z","displayName":"Alice A.",)"
    R"("email":"a@x","providerId":"","provider":"","profilePicUrl":""})";

class CtlForms : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string users = std::string(R"({"users":[)") + kAlice + "]}";
    server_.Answer("GET /api/v1/user", users);
    server_.Answer("GET /api/v1/user?name=alice", users);
    server_.Answer("GET /api/v1/user?id=1", users);
    server_.Answer("GET /api/v1/user?name=ghost", R"({"users":[]})");
    server_.Answer("GET /api/v1/user?name=twin",
                   std::string(R"({"users":[)") + kAlice + "," + kAlice + "]}");
    server_.Answer("POST /api/v1/user", std::string(R"({"user":)") + kAlice + "}");
    server_.Answer("POST /api/v1/user/1/rename/bob", std::string(R"({"user":)") + kAlice + "}");
    server_.Answer("DELETE /api/v1/user/1", "{}");
    server_.Answer("GET /api/v1/node", Nodes());
    server_.Answer("GET /api/v1/node?user=alice", Nodes());
    server_.Answer("GET /api/v1/node?user=1", Nodes());
    server_.Answer("GET /api/v1/node/3", NodeBody());
    server_.Answer("GET /api/v1/node/3/detail",
                   R"({"node":{"id":"3","givenName":"laptop"},"detail":{"os":"linux"}})");
    server_.Answer("DELETE /api/v1/node/3", "{}");
    for (const char* what : {"expire", "tags", "approve_routes", "rename/printer"}) {
      server_.Answer("POST /api/v1/node/3/" + std::string(what), NodeBody());
    }
    server_.Answer("POST /api/v1/node/backfillips?confirmed=true",
                   R"({"changes":["assigned IPv4 \"100.64.0.7\" to Node(3) \"laptop\""]})");
    server_.Answer(
        "GET /api/v1/preauthkey",
        std::string(R"({"preAuthKeys":[{"id":"5","key":"hskey-auth-0123456789ab-***",)") +
            R"("user":)" + kAlice + R"(},{"id":"6","key":"legacykey","user":null}]})");
    server_.Answer("POST /api/v1/preauthkey",
                   R"({"preAuthKey":{"id":"5","key":"hskey-auth-whole"}})");
    server_.Answer("POST /api/v1/preauthkey/expire", "{}");
    server_.Answer("DELETE /api/v1/preauthkey?id=5", "{}");
    server_.Answer("POST /api/v1/auth/register", NodeBody());
    server_.Answer("POST /api/v1/auth/approve", "{}");
    server_.Answer("POST /api/v1/auth/reject", "{}");
    server_.Answer("POST /api/v1/node/register?user=alice&key=" + Id(), NodeBody());
    server_.Answer("POST /api/v1/node/register?user=alice&key=mkey%3Aab", NodeBody());
    server_.Answer("POST /api/v1/node/register?user=alice&key=nodekey%3Aab", NodeBody());
    server_.Answer("GET /api/v1/health",
                   R"({"databaseConnectivity":true,"status":"pass","problems":[]})");
  }

  static std::string Id() { return "hskey-authreq-0123456789abcdef01234567"; }
  static std::string NodeBody() { return R"({"node":{"id":"3","givenName":"laptop"}})"; }
  static std::string Nodes() {
    return R"({"nodes":[{"id":"3","givenName":"laptop","name":"Laptop",)"
           R"("ipAddresses":["100.64.0.3","fd7a:115c:a1e0::3"],)"
           R"("approvedRoutes":["10.0.0.0/24"],"availableRoutes":["10.0.0.0/24","10.1.0.0/16"],)"
           R"("subnetRoutes":["10.0.0.0/24"]}]})";
  }

  // Runs each line; all must ask the same of the server and succeed with `out`.
  void Same(const std::vector<std::string>& lines, const Asked& asked, const std::string& out) {
    for (const std::string& line : lines) {
      const Outcome outcome = server_.Run(line);
      EXPECT_EQ(outcome.code, 0) << line << "\n" << outcome.err;
      EXPECT_EQ(server_.TakeAsked(), asked) << line;
      EXPECT_EQ(outcome.out, out) << line;
    }
  }
  // Each must fail with `error` somewhere in the text and change nothing.
  void Fails(const std::vector<std::string>& lines, const std::string& error) {
    for (const std::string& line : lines) {
      const Outcome outcome = server_.Run(line);
      EXPECT_EQ(outcome.code, 1) << line;
      EXPECT_NE(outcome.err.find(error), std::string::npos) << line << "\n" << outcome.err;
      EXPECT_EQ(outcome.out, "") << line;
      for (const std::string& asked : server_.TakeAsked()) {
        EXPECT_TRUE(asked.starts_with("GET ")) << line << ": " << asked;
      }
    }
  }

  FakeServer server_;
};

TEST_F(CtlForms, UsersCreate) {
  const Asked asked = {
      R"(POST /api/v1/user {"name":"alice","displayName":"","email":"","pictureUrl":""})"};
  Same({"users create alice", "user create alice", "users c alice", "users new alice",
        "namespaces create alice", "namespace create alice", "ns create alice",
        "--force users create alice", "users --force create alice", "users create --force alice"},
       asked, "User created\n");
  Same(
      {"users create alice -d Al -e a@x -p https://p/x",
       "users create --display-name Al --email=a@x --picture-url=https://p/x alice",
       "users create -d=Al -e=a@x -p=https://p/x alice"},
      {R"(POST /api/v1/user {"name":"alice","displayName":"Al","email":"a@x","pictureUrl":"https://p/x"})"},
      "User created\n");
  Fails({"users create", "users create ''"}, "missing parameters");
  Fails({"users create alice -p javascript:alert(1)"}, "picture URL");
  Fails({"users create alice bob"}, "unexpected argument \"bob\"");
}

TEST_F(CtlForms, UsersList) {
  Same({"users list", "user list", "users ls", "users show"}, {"GET /api/v1/user"},
       "ID | Name     | Username | Email | Created\n"
       "1  | Alice A. | alice    | a@x   | 2026-01-01 10:00:00\n");
  Same({"users list -n ghost", "users list --name ghost"}, {"GET /api/v1/user?name=ghost"},
       "ID | Name | Username | Email | Created\n");
  for (const char* line : {"users list -i 1 -n ghost -e x", "users list --identifier 1"}) {
    EXPECT_EQ(server_.Run(line).code, 0);
    EXPECT_EQ(server_.TakeAsked(), Asked{"GET /api/v1/user?id=1"}) << line;
  }
  Fails({"users list -i alice"}, "--identifier takes a number");
}

TEST_F(CtlForms, UsersDestroy) {
  const Asked by_name = {"GET /api/v1/user?name=alice", "DELETE /api/v1/user/1"};
  Same({"users destroy -n alice --force", "users delete --name alice --force",
        "--force users destroy alice", "user destroy --force alice", "ns destroy --force alice"},
       by_name, "User destroyed\n");
  Same({"users destroy -i 1 --force", "users destroy --force --identifier=1",
        "users destroy --force 1"},
       {"GET /api/v1/user?id=1", "DELETE /api/v1/user/1"}, "User destroyed\n");
  Fails({"users destroy --force"}, "--name or --identifier flag is required");
  Fails({"users destroy --force -n ghost"}, "user not found");
  Fails({"users destroy --force -n twin"}, "multiple users match query, specify an ID");
  Fails({"users destroy --force -i 0", "users destroy --force -i 00"}, "user not found");
  Fails({"users destroy --force -i alice"}, "--identifier takes a number");
}

TEST_F(CtlForms, UsersRename) {
  const Asked by_name = {"GET /api/v1/user?name=alice", "POST /api/v1/user/1/rename/bob"};
  Same({"users rename -n alice -r bob", "users mv --name alice --new-name bob",
        "users rename alice bob", "user rename alice bob", "users rename -n alice bob",
        "users rename alice -r bob", "namespaces rename alice bob"},
       by_name, "User renamed\n");
  Same({"users rename -i 1 -r bob", "users rename -i 1 bob", "users rename 1 bob"},
       {"GET /api/v1/user?id=1", "POST /api/v1/user/1/rename/bob"}, "User renamed\n");
  Fails({"users rename", "users rename alice", "users rename -n alice"}, "new-name");
  Fails({"users rename -r bob"}, "--name or --identifier");
}

TEST_F(CtlForms, PreAuthKeysCreate) {
  const auto body = [](const char* user, const char* flags, const char* time, const char* tags) {
    return std::string(R"(POST /api/v1/preauthkey {"user":")") + user + "\"," + flags +
           R"(,"expiration":")" + time + R"(","aclTags":)" + tags + "}";
  };
  constexpr const char* kPlain = R"("reusable":false,"ephemeral":false)";
  constexpr const char* kBoth = R"("reusable":true,"ephemeral":true)";
  Same({"preauthkeys create -u alice", "preauthkey create --user alice", "pre c -u alice",
        "authkey new --user=alice", "preauthkeys -u alice create", "preauthkeys -n alice create",
        "preauthkeys create -n alice", "preauthkeys --namespace alice create",
        "preauthkeys create -u=alice -e 1h"},
       {"GET /api/v1/user?name=alice", body("1", kPlain, "2026-01-01T01:00:00Z", "[]")},
       "hskey-auth-whole\n");
  Same({"preauthkeys create -u 1 --reusable --ephemeral --expiration 1d12h --tags tag:a,tag:b",
        "preauthkeys create -u 1 --reusable --ephemeral -e 36h --tags tag:a --tags tag:b"},
       {"GET /api/v1/user?id=1", body("1", kBoth, "2026-01-02T12:00:00Z", R"(["tag:a","tag:b"])")},
       "hskey-auth-whole\n");
  Same({"preauthkeys create --tags tag:a", "preauthkeys create -u 0 --tags tag:a"},
       {body("", kPlain, "2026-01-01T01:00:00Z", R"(["tag:a"])")}, "hskey-auth-whole\n");
  Fails({"preauthkeys create -u ghost"},
        "user not found: there is no user with the name ghost (`ringscale users create ghost` "
        "makes one");
  Fails({"preauthkeys create -u 1 -e tomorrow", "preauthkeys create -u 1 -e 5",
         "preauthkeys create -u 1 -e -5h"},
        "not a duration");
  Fails({"preauthkeys create -u 1 -e 290y"}, "too far away");
}

TEST_F(CtlForms, PreAuthKeysList) {
  const Outcome all = server_.Run("preauthkeys list -o json-line");
  EXPECT_NE(all.out.find(R"("id":"6")"), std::string::npos);
  for (const char* line :
       {"preauthkeys -u alice list", "preauthkeys list -u 1", "preauthkeys --namespace alice ls"}) {
    const Outcome mine = server_.Run(std::string(line) + " -o json-line");
    EXPECT_EQ(mine.code, 0);
    EXPECT_NE(mine.out.find(R"([{"id":"5")"), std::string::npos) << line;
    EXPECT_EQ(mine.out.find(R"("id":"6")"), std::string::npos) << line;
  }
}

TEST_F(CtlForms, PreAuthKeysExpireAndDelete) {
  Same({"preauthkeys expire -i 5", "preauthkeys revoke --id 5", "pre e --id=5", "preauthkeys exp 5",
        "preauthkeys -u alice expire 5"},
       {R"(POST /api/v1/preauthkey/expire {"id":"5"})"}, "Key expired\n");
  Same({"preauthkeys -u alice expire hskey-auth-0123456789ab-ffff",
        "preauthkeys expire hskey-auth-0123456789ab-***"},
       {"GET /api/v1/preauthkey", R"(POST /api/v1/preauthkey/expire {"id":"5"})"}, "Key expired\n");
  Same({"preauthkeys expire legacykey"},
       {"GET /api/v1/preauthkey", R"(POST /api/v1/preauthkey/expire {"id":"6"})"}, "Key expired\n");
  Same({"preauthkeys delete -i 5", "preauthkeys rm --id 5", "preauthkeys del 5", "pre d 5"},
       {"DELETE /api/v1/preauthkey?id=5"}, "Key deleted\n");
  Fails({"preauthkeys expire", "preauthkeys delete"}, "missing --id parameter");
  Fails({"preauthkeys expire legacykey2", "preauthkeys delete hskey-auth-"},
        "there is no such pre-auth key");
  Fails({"preauthkeys expire -i x"}, "--id takes a number");
}

TEST_F(CtlForms, NodesList) {
  for (const char* line : {"nodes list", "node list", "machines list", "machine ls", "nodes ls",
                           "nodes show", "nodes list -t", "nodes list --tags"}) {
    const Outcome outcome = server_.Run(line);
    EXPECT_EQ(outcome.code, 0) << line << outcome.err;
    EXPECT_EQ(server_.TakeAsked(), Asked{"GET /api/v1/node"}) << line;
    EXPECT_TRUE(outcome.out.starts_with("ID | Hostname | Name ")) << outcome.out;
  }
  for (const char* line : {"nodes list -u alice", "nodes -u alice list", "nodes list -n alice",
                           "nodes --namespace alice list", "nodes list --user=alice"}) {
    EXPECT_EQ(server_.Run(line).code, 0) << line;
    EXPECT_EQ(server_.TakeAsked(), Asked{"GET /api/v1/node?user=alice"}) << line;
  }
}

TEST_F(CtlForms, NodesShow) {
  const Asked detail = {"GET /api/v1/node/3/detail"};
  const Asked found = {"GET /api/v1/node", "GET /api/v1/node/3/detail"};
  for (const char* line : {"nodes show 3", "nodes show -i 3", "node show --identifier=3"}) {
    const Outcome outcome = server_.Run(line);
    EXPECT_EQ(outcome.code, 0) << line << outcome.err;
    EXPECT_EQ(server_.TakeAsked(), detail) << line;
    EXPECT_NE(outcome.out.find("laptop"), std::string::npos);
  }
  for (const char* line : {"nodes show laptop", "nodes show Laptop", "nodes show 100.64.0.3",
                           "nodes show fd7a:115c:a1e0:0::3"}) {
    EXPECT_EQ(server_.Run(line).code, 0) << line;
    EXPECT_EQ(server_.TakeAsked(), found) << line;
  }
  Fails({"nodes show nothing", "nodes show 100.64.0.4"}, "node not found");
  Fails({"nodes show -i laptop"}, "is not a number");
}

TEST_F(CtlForms, NodesRegister) {
  const std::string out = "Node laptop registered\n";
  Same({"nodes register -u alice -k " + Id(), "nodes register --user alice --key " + Id(),
        "node -u alice register --key=" + Id(), "nodes -n alice register -k " + Id()},
       {"POST /api/v1/node/register?user=alice&key=" + Id()}, out);
  Same({"nodes register --user alice --key mkey:ab"},
       {"POST /api/v1/node/register?user=alice&key=mkey%3Aab"}, out);
  Same({"nodes register --namespace alice --key nodekey:ab"},
       {"POST /api/v1/node/register?user=alice&key=nodekey%3Aab"}, out);
  Fails({"nodes register -u alice"}, "required flag(s) \"key\" not set");
  Fails({"nodes register -k x"}, "required flag(s) \"user\" not set");
}

TEST_F(CtlForms, NodesExpire) {
  Same({"nodes expire -i 3", "nodes logout --identifier 3", "nodes exp -i3", "nodes e -i=3"},
       {"POST /api/v1/node/3/expire"}, "Node expired\n");
  Same({"nodes expire -i 3 -e 2026-06-01T02:00:00+02:00",
        "nodes expire -i 3 --expiry=2026-06-01T00:00:00Z"},
       {R"(POST /api/v1/node/3/expire {"expiry":"2026-06-01T00:00:00Z"})"},
       "Node expiration updated\n");
  Same({"nodes expire -i 3 -d", "nodes expire --disable -i 3"},
       {R"(POST /api/v1/node/3/expire {"disableExpiry":true})"}, "Node expiry disabled\n");
  Fails({"nodes expire", "nodes delete", "nodes rename x", "nodes tag -t tag:a",
         "nodes approve-routes -r 10.0.0.0/8"},
        "required flag(s) \"identifier\" not set");
  Fails({"nodes expire -i 3 -e x"}, "parsing expiry");
  Fails({"nodes expire -i 3 -d -e 2026-06-01T00:00:00Z"}, "contradict");
  Fails({"nodes expire -i laptop"}, "is not a number");
}

TEST_F(CtlForms, NodesRenameTagDelete) {
  Same({"nodes rename -i 3 printer", "nodes rename printer --identifier 3"},
       {"POST /api/v1/node/3/rename/printer"}, "Node renamed\n");
  Same({"nodes tag -i 3 -t tag:a,tag:b", "nodes tags -i 3 --tags tag:a -t tag:b",
        "nodes t -i 3 -t=tag:a,tag:b", "nodes tag -t tag:a -t tag:b -i 3"},
       {R"(POST /api/v1/node/3/tags {"tags":["tag:a","tag:b"]})"}, "Node updated\n");
  Same({"nodes tag -i 3", "nodes tag -i 3 -t ''", "nodes tag -i 3 --tags="},
       {R"(POST /api/v1/node/3/tags {"tags":[]})"}, "Node updated\n");
  Same({"nodes delete -i 3 --force", "nodes del --force --identifier=3"},
       {"GET /api/v1/node/3", "DELETE /api/v1/node/3"}, "Node deleted\n");
  Fails({"nodes rename -i 3"}, "missing the new name");
  Fails({"nodes move -i 3 -u bob", "nodes mv -i 3 -u bob"}, "cannot be moved");
}

TEST_F(CtlForms, NodesRoutes) {
  Same({"nodes list-routes", "nodes lsr", "nodes routes", "nodes list-routes -i 3"},
       {"GET /api/v1/node"},
       "ID | Hostname | Approved    | Available   | Serving (Primary)\n"
       "3  | laptop   | 10.0.0.0/24 | 10.0.0.0/24 | 10.0.0.0/24\n"
       "   |          |             | 10.1.0.0/16 |\n");
  Same({"nodes approve-routes -i 3 -r 10.0.0.0/24,192.168.0.0/16",
        "nodes approve-routes --identifier 3 --routes 10.0.0.0/24 -r 192.168.0.0/16"},
       {R"(POST /api/v1/node/3/approve_routes {"routes":["10.0.0.0/24","192.168.0.0/16"]})"},
       "Node updated\n");
  Same({"nodes approve-routes -i 3 -r ''",
        "nodes approve-routes -i 3 --routes=", "nodes approve-routes -i 3"},
       {R"(POST /api/v1/node/3/approve_routes {"routes":[]})"}, "Node updated\n");
  Fails({"nodes approve-routes -i 3 -r 10.0.0.0/33", "nodes approve-routes -i 3 -r x"},
        "parsing route");
  Fails({"nodes list-routes -i 4"}, "node not found");
}

TEST_F(CtlForms, RoutesAsTheyWere) {
  // The IDs of the list work in the commands that change.
  const Outcome list = server_.Run("routes list");
  EXPECT_EQ(list.code, 0) << list.err;
  std::istringstream lines(list.out);
  std::string header;
  std::getline(lines, header);
  EXPECT_TRUE(header.starts_with("ID ")) << header;
  std::map<std::string, std::string> ids;
  for (std::string line; std::getline(lines, line);) {
    const auto words = Words(line);
    ids[words[4]] = words[0];
    EXPECT_EQ(words[2], "laptop");
  }
  ASSERT_EQ(ids.size(), 2U) << list.out;
  server_.TakeAsked();
  const Asked enabled = {
      "GET /api/v1/node",
      R"(POST /api/v1/node/3/approve_routes {"routes":["10.0.0.0/24","10.1.0.0/16"]})"};
  Same({"routes enable -r " + ids["10.1.0.0/16"], "r enable --route " + ids["10.1.0.0/16"],
        "routes enable -i 3 -r 10.1.0.0/16"},
       enabled, "Route enabled\n");
  Same({"routes disable -r " + ids["10.0.0.0/24"], "route delete -r " + ids["10.0.0.0/24"]},
       {"GET /api/v1/node", R"(POST /api/v1/node/3/approve_routes {"routes":[]})"},
       "Route disabled\n");
  Fails({"routes enable -r 1"}, "there is no route 1");
  Fails({"routes enable -r 10.1.0.0/16"}, "needs the node too");
  Fails({"routes enable"}, "required flag(s) \"route\" not set");
}

TEST_F(CtlForms, Auth) {
  Same({"auth register --auth-id " + Id() + " --user alice",
        "auth register -u alice --auth-id=" + Id()},
       {R"(POST /api/v1/auth/register {"user":"alice","authId":")" + Id() + "\"}"},
       "Node laptop registered\n");
  Same({"auth approve --auth-id x"}, {R"(POST /api/v1/auth/approve {"authId":"x"})"},
       "Auth request approved\n");
  Same({"auth reject --auth-id x"}, {R"(POST /api/v1/auth/reject {"authId":"x"})"},
       "Auth request rejected\n");
  Fails({"auth register"}, "required flag(s) \"user\", \"auth-id\" not set");
  Fails({"auth approve"}, "required flag(s) \"auth-id\" not set");
}

TEST_F(CtlForms, Backfill) {
  Same({"nodes backfillips --force"}, {"POST /api/v1/node/backfillips?confirmed=true"},
       "Node IPs backfilled successfully\n"
       "assigned IPv4 \"100.64.0.7\" to Node(3) \"laptop\"\n");
}

TEST_F(CtlForms, MistakesAreNamed) {
  Fails({"foo", "foo bar"}, "unknown command \"foo\" for \"ringscale\"");
  Fails({"users foo"}, "unknown command \"foo\" for \"ringscale users\"");
  Fails({"users list --bogus", "users list --bogus x"}, "unknown flag: --bogus");
  Fails({"nodes list -i"}, "-i");
  Fails({"users list -o xml"}, "unknown output format \"xml\"");
  Fails({"nodes delete -i"}, "-i");
}

}  // namespace
}  // namespace ringscale::ctl::testing
