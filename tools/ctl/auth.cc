#include <CLI/CLI.hpp>

#include <memory>
#include <string>

#include "tools/ctl/tree.h"

namespace ringscale::ctl {
namespace {

using core::Result;

void AddRegister(Tree& tree, CLI::App& auth) {
  struct Flags {
    std::string user, id;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Command(
      auth,
      {.name = "register",
       .aliases = {},
       .summary = "let a device in that asks for it",
       .details = "A device that logs in without a key opens a web page of this server. The page "
                  "shows this command with the request's ID.",
       .examples = {{"auth register --auth-id ID --user alice", "The device joins as alice's."}}},
      [flags](Session& session) -> Result<int> {
        auto answer = session.Post("/api/v1/auth/register",
                                   Value::Object({{"user", Value::String(flags->user)},
                                                  {"authId", Value::String(flags->id)}}));
        if (!answer) return core::Forward(answer);
        const Value& node = (*answer)["node"];
        session.Print(node, "Node " + Printable(node["givenName"].text()) + " registered");
        return 0;
      });
  tree.Require(
      *command,
      command->add_option("-u,--user", flags->user, "The user (name or ID).")->type_name("USER"));
  tree.Require(*command,
               command->add_option("--auth-id", flags->id, "The request, as the page shows it.")
                   ->type_name("ID"));
}

void AddVerdict(Tree& tree, CLI::App& auth, const std::string& name, const std::string& summary,
                const std::string& details, const std::string& done) {
  const auto id = std::make_shared<std::string>();
  CLI::App* command =
      tree.Command(auth, {.name = name, .aliases = {}, .summary = summary, .details = details},
                   [id, name, done](Session& session) -> Result<int> {
                     auto answer = session.Post("/api/v1/auth/" + name,
                                                Value::Object({{"authId", Value::String(*id)}}));
                     if (!answer) return core::Forward(answer);
                     session.Print(*answer, done);
                     return 0;
                   });
  tree.Require(
      *command,
      command->add_option("--auth-id", *id, "The request, as the page shows it.")->type_name("ID"));
}

}  // namespace

void AddAuthCommands(Tree& tree) {
  CLI::App* auth = tree.Group(tree.root(), {.name = "auth",
                                            .aliases = {},
                                            .summary = "answer requests of devices and people",
                                            .details = "Requests expire after 15 minutes."});
  AddRegister(tree, *auth);
  AddVerdict(tree, *auth, "approve", "approve a pending request",
             "An SSH session that a check rule of the policy holds shows its user a page with this "
             "command. A device that asks to join needs an owner: auth register.",
             "Auth request approved");
  AddVerdict(tree, *auth, "reject", "refuse a pending request", "", "Auth request rejected");
}

}  // namespace ringscale::ctl
