#include "tools/ctl/nodes.h"

#include <CLI/CLI.hpp>

#include <memory>
#include <string>

#include "core/base/base64.h"
#include "core/base/hex.h"
#include "tools/ctl/user_flag.h"

namespace ringscale::ctl {
namespace {

using core::ErrorCode;
using core::Fail;
using core::Result;

bool Expired(const Value& node, core::WallTime now) {
  const auto expiry = core::ParseRfc3339(node["expiry"].text());
  return expiry && *expiry <= now;
}

// Posts to /api/v1/node/<id>/<what> and prints the node.
Result<int> ChangeNode(Session& session, const std::string& id, const std::string& what,
                       const Value& body, std::string_view done) {
  auto segment = CheckNodeId(id);
  if (!segment) return core::Forward(segment);
  auto answer = session.Post("/api/v1/node/" + *segment + "/" + what, body);
  if (!answer) return core::Forward(answer);
  session.Print((*answer)["node"], done);
  return 0;
}

void AddList(Tree& tree, CLI::App& nodes, const UserFlag& user) {
  CLI::App* command = tree.Command(
      nodes,
      {.name = "list",
       .aliases = {"ls"},
       .summary = "list the nodes",
       .details = "Keys are shown in their short form; -o json has all of them, and everything "
                  "else. Expirations are green when ahead and red when past, on a terminal.",
       .examples = {{"nodes list -u alice", "The nodes of alice."}}},
      [user](Session& session) -> Result<int> {
        auto list = ListNodes(session, *user);
        if (!list) return core::Forward(list);
        PrintNodes(session, *list);
        return 0;
      });
  AddUserFlag(*command, user, "Only the nodes of this user (name or ID).");
  // Asked for the tags column before it was always there.
  command->add_flag("-t,--tags")->group("");
}

void AddRegister(Tree& tree, CLI::App& nodes, const UserFlag& user) {
  const auto key = std::make_shared<std::string>();
  CLI::App* command = tree.Command(
      nodes,
      {.name = "register",
       .aliases = {},
       .summary = "let a device in that asks for it",
       .details = "The older form of `ringscale auth register`. The key is the ID from the web "
                  "page of the login; the machine or node key of the device does too.",
       .examples = {{"nodes register -u alice -k ID", "The device joins as alice's."}}},
      [user, key](Session& session) -> Result<int> {
        if (user->empty()) return Fail(ErrorCode::kInvalid, "required flag(s) \"user\" not set");
        if (session.human()) {
          session.Note(
              "`nodes register` is the old form of `auth register --auth-id ID --user USER`.");
        }
        auto answer = session.Post("/api/v1/node/register?user=" + UrlEncode(*user) +
                                   "&key=" + UrlEncode(*key));
        if (!answer) return core::Forward(answer);
        const Value& node = (*answer)["node"];
        session.Print(node, "Node " + Printable(node["givenName"].text()) + " registered");
        return 0;
      });
  tree.ShowAsRequired(
      *command, AddUserFlag(*command, user, "The user that the node will belong to (name or ID)."));
  tree.Require(*command, command
                             ->add_option("-k,--key", *key,
                                          "The login request: its ID, or the device's mkey: or "
                                          "nodekey:.")
                             ->type_name("KEY"));
}

void AddExpire(Tree& tree, CLI::App& nodes) {
  struct Flags {
    std::string id, expiry;
    bool disable = false;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Command(
      nodes,
      {.name = "expire",
       .aliases = {"logout", "exp", "e"},
       .summary = "log a node out, now or at a given time",
       .details = "An expired node stays in the list and cannot reach others until its user logs "
                  "in again on it. With --disable its key never expires.",
       .examples = {{"nodes expire -i 3", "Log node 3 out."},
                    {"nodes expire -i 3 -e 2027-01-31T12:00:00Z", "Let its key expire then."},
                    {"nodes expire -i 3 --disable", "Let its key never expire."}}},
      [flags](Session& session) -> Result<int> {
        if (flags->disable && !flags->expiry.empty()) {
          return Fail(ErrorCode::kInvalid, "--expiry and --disable contradict each other");
        }
        if (flags->disable) {
          return ChangeNode(session, flags->id, "expire",
                            Value::Object({{"disableExpiry", Value::Bool(true)}}),
                            "Node expiry disabled");
        }
        if (flags->expiry.empty()) {
          return ChangeNode(session, flags->id, "expire", {}, "Node expired");
        }
        const auto expiry = core::ParseRfc3339(flags->expiry);
        if (!expiry) {
          return Fail(ErrorCode::kInvalid, "parsing expiry: \"" + Printable(flags->expiry) +
                                               "\" is not a time like 2027-01-31T12:00:00Z");
        }
        return ChangeNode(session, flags->id, "expire",
                          Value::Object({{"expiry", Value::String(core::FormatRfc3339(*expiry))}}),
                          *expiry <= session.Now() ? "Node expired" : "Node expiration updated");
      });
  AddNodeId(tree, *command, flags->id);
  command->add_option("-e,--expiry", flags->expiry, "When, in RFC 3339; now by default.")
      ->type_name("TIME");
  command->add_flag("-d,--disable", flags->disable, "The node's key never expires.");
}

void AddRename(Tree& tree, CLI::App& nodes) {
  struct Flags {
    std::string id, name;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Command(
      nodes,
      {.name = "rename",
       .aliases = {},
       .summary = "give a node another name",
       .details = "The name is a DNS label: lower-case letters, digits and hyphens, 63 at most, "
                  "unique in the network. A name given this way stays when the device changes its "
                  "own.",
       .examples = {{"nodes rename -i 3 printer", "Node 3 is called printer from now on."}}},
      [flags](Session& session) -> Result<int> {
        if (flags->name.empty()) return Fail(ErrorCode::kInvalid, "missing the new name");
        return ChangeNode(session, flags->id, "rename/" + UrlEncode(flags->name), {},
                          "Node renamed");
      });
  AddNodeId(tree, *command, flags->id);
  tree.ShowAsRequired(
      *command,
      command->add_option("new-name", flags->name, "The new name.")->type_name("NEW_NAME"));
}

void AddTag(Tree& tree, CLI::App& nodes) {
  struct Flags {
    std::string id;
    std::vector<std::string> tags;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Command(
      nodes,
      {.name = "tag",
       .aliases = {"tags", "t"},
       .summary = "replace the tags of a node",
       .details = "A tagged node belongs to no user any more. It becomes a user's again when that "
                  "user logs in on it without tags.",
       .examples = {{"nodes tag -i 3 -t tag:server,tag:web", "Node 3 gets exactly these tags."}}},
      [flags](Session& session) -> Result<int> {
        return ChangeNode(session, flags->id, "tags",
                          Value::Object({{"tags", Value::Strings(SplitList(flags->tags))}}),
                          "Node updated");
      });
  AddNodeId(tree, *command, flags->id);
  command->add_option("-t,--tags", flags->tags, "All tags, comma-separated or repeated.")
      ->type_name("TAGS")
      ->allow_extra_args(false);
}

void AddDelete(Tree& tree, CLI::App& nodes) {
  const auto id = std::make_shared<std::string>();
  CLI::App* command = tree.Command(
      nodes,
      {.name = "delete",
       .aliases = {"del"},
       .summary = "remove a node",
       .details = "The device is logged out and its addresses become free. Asks first."},
      [id](Session& session) -> Result<int> {
        auto segment = CheckNodeId(*id);
        if (!segment) return core::Forward(segment);
        auto found = session.Get("/api/v1/node/" + *segment);
        if (!found) return core::Forward(found);
        std::string done = "Node not deleted";
        if (session.Confirm("Do you want to remove the node " +
                            Printable((*found)["node"]["givenName"].text()) + "?")) {
          auto answer = session.Delete("/api/v1/node/" + *segment);
          if (!answer) return core::Forward(answer);
          done = "Node deleted";
        }
        session.Print(Value::Object({{"Result", Value::String(done)}}), done);
        return 0;
      });
  AddNodeId(tree, *command, *id);
}

void AddBackfill(Tree& tree, CLI::App& nodes) {
  tree.Command(
      nodes,
      {.name = "backfillips",
       .aliases = {},
       .summary = "bring the nodes' addresses in line with the configuration",
       .details = "After a prefix was added to the configuration, or taken out of it: every node "
                  "gets an address of each configured family, and loses those of the others. "
                  "Asks first."},
      [](Session& session) -> Result<int> {
        if (!session.Confirm("Are you sure that you want to assign/remove IPs to/from nodes?")) {
          session.Print(Value::Object({{"changes", Value::Array()}}), "Nothing changed");
          return 0;
        }
        auto answer = session.Post("/api/v1/node/backfillips?confirmed=true");
        if (!answer) return core::Forward(answer);
        std::string text = "Node IPs backfilled successfully";
        for (const std::string& change : (*answer)["changes"].strings()) {
          text += "\n" + Printable(change);
        }
        session.Print(*answer, text);
        return 0;
      });
}

// Gone since headscale 0.28; people still find it in tutorials.
void AddMove(Tree& tree, CLI::App& nodes) {
  const auto ignored = std::make_shared<std::string>();
  CLI::App* command = tree.Command(
      nodes, {.name = "move", .aliases = {"mv"}, .summary = "", .details = "", .hidden = true},
      [ignored](Session&) -> Result<int> {
        return Fail(ErrorCode::kUnsupported,
                    "a node cannot be moved to another user: log in on the device as that user "
                    "(`tailscale up --force-reauth --login-server URL`), then delete the old "
                    "node");
      });
  command->add_option("-i,--identifier", *ignored)->group("");
  command->add_option("-u,--user", *ignored)->group("");
}

}  // namespace

void AddNodeId(Tree& tree, CLI::App& command, std::string& id) {
  tree.Require(command,
               command.add_option("-i,--identifier", id, "The node's ID.")->type_name("ID"));
}

Result<std::string> CheckNodeId(const std::string& id) {
  if (!IsDigits(id)) {
    return Fail(ErrorCode::kInvalid, "the node identifier \"" + Printable(id) +
                                         "\" is not a number (`ringscale nodes "
                                         "list` shows the IDs)");
  }
  return id;
}

Result<Value> ListNodes(Session& session, const std::string& user) {
  auto answer = session.Get(user.empty() ? "/api/v1/node" : "/api/v1/node?user=" + UrlEncode(user));
  if (!answer) return answer;
  return (*answer)["nodes"];
}

void PrintNodes(Session& session, const Value& nodes) {
  Table table({"ID", "Hostname", "Name", "MachineKey", "NodeKey", "User", "Tags", "IP addresses",
               "Ephemeral", "Last seen", "Expiration", "Connected", "Expired"});
  for (const Value& node : nodes.items()) {
    const bool online = node["online"].truth();
    const bool expired = Expired(node, session.Now());
    table.Add({node["id"].text(), Printable(node["name"].text()), node["givenName"].text(),
               ShortKey(node["machineKey"].text()), ShortKey(node["nodeKey"].text()),
               node["user"]["name"].text(), Lines(node["tags"]), Lines(node["ipAddresses"]),
               node["preAuthKey"]["ephemeral"].truth() ? "true" : "false",
               TableTime(node["lastSeen"], "-"), ExpiryCell(node["expiry"], session.Now(), "N/A"),
               Cell(online ? "online" : "offline", online ? Colour::kGreen : Colour::kRed),
               Cell(expired ? "yes" : "no", expired ? Colour::kRed : Colour::kGreen)});
  }
  session.PrintTable(nodes, table);
}

std::string Lines(const Value& array) {
  std::string out;
  for (const std::string& item : array.strings()) out += (out.empty() ? "" : "\n") + item;
  return out;
}

std::string ShortKey(const std::string& key) {
  const std::size_t colon = key.find(':');
  if (colon == std::string::npos) return key;
  const auto raw = core::HexDecode(std::string_view(key).substr(colon + 1));
  if (!raw) return key;
  constexpr std::size_t kShown = 5;
  return "[" + core::Base64Encode(core::Bytes(*raw)).substr(0, kShown) + "]";
}

void AddNodeCommands(Tree& tree) {
  CLI::App* nodes = tree.Group(tree.root(), {.name = "nodes",
                                             .aliases = {"node", "machines", "machine"},
                                             .summary = "manage nodes",
                                             .details = "A node is a device in the network."});
  const UserFlag user = std::make_shared<std::string>();
  AddUserFlag(*nodes, user, "The user (name or ID).");
  for (CLI::Option* option : nodes->get_options()) option->group("");  // shown by the commands
  AddList(tree, *nodes, user);
  AddNodeShow(tree, *nodes);
  AddRegister(tree, *nodes, user);
  AddExpire(tree, *nodes);
  AddRename(tree, *nodes);
  AddTag(tree, *nodes);
  AddDelete(tree, *nodes);
  AddRouteCommands(tree, *nodes);
  AddBackfill(tree, *nodes);
  AddMove(tree, *nodes);
}

}  // namespace ringscale::ctl
