#include <CLI/CLI.hpp>

#include <memory>
#include <string>

#include "tools/ctl/duration.h"
#include "tools/ctl/tree.h"
#include "tools/ctl/user_flag.h"

namespace ringscale::ctl {
namespace {

using core::ErrorCode;
using core::Fail;
using core::Result;

std::string Owner(const Value& key) {
  std::string owner;
  for (const std::string& tag : key["aclTags"].strings())
    owner += (owner.empty() ? "" : "\n") + tag;
  if (owner.empty()) owner = key["user"]["name"].text();
  return owner.empty() ? "-" : owner;
}

void AddList(Tree& tree, CLI::App& keys, const UserFlag& user) {
  CLI::App* command = tree.Command(
      keys,
      {.name = "list",
       .aliases = {"ls", "show"},
       .summary = "list the pre-auth keys",
       .details = "Of each key only the beginning is known: the whole key is shown once, when it "
                  "is made."},
      [user](Session& session) -> Result<int> {
        std::string owner_id;
        if (!user->empty()) {
          auto owner = FindUser(session, *user);
          if (!owner) return core::Forward(owner);
          owner_id = (*owner)["id"].text();
        }
        auto answer = session.Get("/api/v1/preauthkey");
        if (!answer) return core::Forward(answer);
        Value list = Value::Array();
        Table table({"ID", "Key/Prefix", "Reusable", "Ephemeral", "Used", "Expiration", "Created",
                     "Owner"});
        const auto flag = [](const Value& value) { return value.truth() ? "true" : "false"; };
        for (const Value& key : (*answer)["preAuthKeys"].items()) {
          if (!owner_id.empty() && key["user"]["id"].text() != owner_id) continue;
          table.Add({key["id"].text(), key["key"].text(), flag(key["reusable"]),
                     flag(key["ephemeral"]), flag(key["used"]),
                     ExpiryCell(key["expiration"], session.Now(), "-"),
                     TableTime(key["createdAt"], "-"), Owner(key)});
          list.Append(key);
        }
        session.PrintTable(list, table);
        return 0;
      });
  AddUserFlag(*command, user, "Only the keys of this user (name or ID).");
}

void AddCreate(Tree& tree, CLI::App& keys, const UserFlag& user) {
  struct Flags {
    bool reusable = false, ephemeral = false;
    std::string expiration = "1h";
    std::vector<std::string> tags;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Command(
      keys,
      {.name = "create",
       .aliases = {"c", "new"},
       .summary = "make a pre-auth key and print it",
       .details = "A device joins with it by `tailscale up --login-server URL --auth-key KEY`, "
                  "without approval. A key belongs to a user or carries tags; nodes that join "
                  "with it do the same. The whole key is printed this once: only its hash is "
                  "stored.",
       .examples = {{"preauthkeys create -u alice", "A key for one device, for the next hour."},
                    {"preauthkeys create -u alice --reusable --expiration 30d",
                     "A key for many devices."},
                    {"preauthkeys create --tags tag:server --ephemeral",
                     "A key for a tagged node that is removed when it stays away."}}},
      [user, flags](Session& session) -> Result<int> {
        auto lifetime = ParseDuration(flags->expiration);
        if (!lifetime) return core::Forward(lifetime);
        std::int64_t expiry = 0;
        if (__builtin_add_overflow(session.Now().unix_ns, lifetime->ns, &expiry)) {
          return Fail(ErrorCode::kInvalid, "--expiration is too far away");
        }
        std::string owner_id;
        if (!user->empty() && *user != "0") {
          auto owner = FindUser(session, *user);
          if (!owner) return core::Forward(owner);
          owner_id = (*owner)["id"].text();
        }
        Value body = Value::Object(
            {{"user", Value::String(owner_id)},
             {"reusable", Value::Bool(flags->reusable)},
             {"ephemeral", Value::Bool(flags->ephemeral)},
             {"expiration", Value::String(core::FormatRfc3339(core::WallTime{expiry}))},
             {"aclTags", Value::Strings(SplitList(flags->tags))}});
        auto answer = session.Post("/api/v1/preauthkey", body);
        if (!answer) return core::Forward(answer);
        const Value& key = (*answer)["preAuthKey"];
        session.Print(key, key["key"].text());
        return 0;
      });
  AddUserFlag(*command, user, "The user that owns the key (name or ID); 0 for none.");
  command->add_flag("--reusable", flags->reusable, "Many devices may join with it.");
  command->add_flag("--ephemeral", flags->ephemeral,
                    "Nodes that join with it are removed when they stay away.");
  command
      ->add_option("-e,--expiration", flags->expiration,
                   "How long the key can be used: a number and a unit (y, w, d, h, m, s). 1h by "
                   "default.")
      ->type_name("DURATION");
  command->add_option("--tags", flags->tags, "Tags of nodes that join with it, comma-separated.")
      ->type_name("TAGS")
      ->allow_extra_args(false);
}

// The ID of a key that is named by --id or, in old tutorials, by its text.
Result<std::string> FindKey(Session& session, const std::string& id, const std::string& text) {
  const std::string& digits = id.empty() ? text : id;
  if (IsDigits(digits)) return digits;
  if (!id.empty()) {
    return Fail(ErrorCode::kInvalid, "--id takes a number, not \"" + Printable(id) + "\"");
  }
  if (text.empty()) return Fail(ErrorCode::kInvalid, "missing --id parameter");
  auto answer = session.Get("/api/v1/preauthkey");
  if (!answer) return core::Forward(answer);
  constexpr std::string_view kHidden = "***";
  for (const Value& key : (*answer)["preAuthKeys"].items()) {
    std::string_view shown = key["key"].text();
    const bool masked = shown.ends_with(kHidden);
    if (masked) shown.remove_suffix(kHidden.size());
    if (text == key["key"].text() || (masked && text.starts_with(shown))) {
      return key["id"].text();
    }
  }
  return Fail(ErrorCode::kNotFound,
              "there is no such pre-auth key (`ringscale preauthkeys list` shows their IDs)");
}

struct KeyChange {
  const char* name;
  std::vector<std::string> aliases;
  const char* summary;
  const char* details;
  const char* done;
  bool remove;
};

void AddChange(Tree& tree, CLI::App& keys, const KeyChange& change) {
  struct Flags {
    std::string id, text;
  };
  const auto flags = std::make_shared<Flags>();
  const bool remove = change.remove;
  const std::string done = change.done;
  CLI::App* command = tree.Command(
      keys,
      {.name = change.name,
       .aliases = change.aliases,
       .summary = change.summary,
       .details = change.details},
      [flags, remove, done](Session& session) -> Result<int> {
        auto id = FindKey(session, flags->id, flags->text);
        if (!id) return core::Forward(id);
        auto answer = remove ? session.Delete("/api/v1/preauthkey?id=" + *id)
                             : session.Post("/api/v1/preauthkey/expire",
                                            Value::Object({{"id", Value::String(*id)}}));
        if (!answer) return core::Forward(answer);
        session.Print(*answer, done);
        return 0;
      });
  command->add_option("-i,--id", flags->id, "The key's ID.")->type_name("ID");
  command->add_option("key", flags->text, "The key itself or its ID, for short.")->type_name("KEY");
}

}  // namespace

void AddKeyCommands(Tree& tree) {
  CLI::App* keys = tree.Group(
      tree.root(), {.name = "preauthkeys",
                    .aliases = {"preauthkey", "authkey", "pre"},
                    .summary = "manage pre-auth keys",
                    .details = "With a pre-auth key a device joins without anybody's approval."});
  const UserFlag user = std::make_shared<std::string>();
  AddUserFlag(*keys, user, "The user (name or ID).");
  for (CLI::Option* option : keys->get_options()) option->group("");  // shown by the commands
  AddList(tree, *keys, user);
  AddCreate(tree, *keys, user);
  AddChange(tree, *keys,
            {"expire",
             {"revoke", "exp", "e"},
             "make a pre-auth key unusable",
             "Nodes that joined with it stay.",
             "Key expired",
             false});
  AddChange(tree, *keys,
            {"delete",
             {"del", "rm", "d"},
             "delete a pre-auth key",
             "Nodes that joined with it stay; ephemeral ones become ordinary nodes.",
             "Key deleted",
             true});
}

}  // namespace ringscale::ctl
