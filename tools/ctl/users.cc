#include <CLI/CLI.hpp>

#include <memory>
#include <string>

#include "tools/ctl/tree.h"

namespace ringscale::ctl {
namespace {

using core::ErrorCode;
using core::Fail;
using core::Result;

// Who is meant: -i, -n, or the plain argument of old tutorials.
struct Selector {
  std::string id;
  std::string name;
  std::string positional;
};

void AddSelector(CLI::App& command, Selector& selector) {
  command.add_option("-i,--identifier", selector.id, "The user's ID.")->type_name("ID");
  command.add_option("-n,--name", selector.name, "The user's name.")->type_name("NAME");
}

Result<Value> Select(Session& session, const Selector& selector) {
  if (!selector.id.empty()) {
    if (!IsDigits(selector.id)) {
      return Fail(ErrorCode::kInvalid, "--identifier takes a number, not \"" +
                                           Printable(selector.id) + "\"; use --name for names");
    }
    return FindUser(session, selector.id);
  }
  if (!selector.name.empty()) return FindUser(session, selector.name);
  if (!selector.positional.empty()) return FindUser(session, selector.positional);
  return Fail(ErrorCode::kInvalid, "--name or --identifier flag is required");
}

void AddCreate(Tree& tree, CLI::App& users) {
  struct Flags {
    std::string name, display_name, email, picture_url;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Command(
      users,
      {.name = "create",
       .aliases = {"c", "new"},
       .summary = "make a user",
       .details = "Users own nodes. The name is what other commands and policies call the user.",
       .examples = {{"users create alice", "Make the user alice."},
                    {"users create bob -d \"Bob B.\" -e bob@example.com",
                     "Make a user with a display name and an e-mail address."}}},
      [flags](Session& session) -> Result<int> {
        if (flags->name.empty()) return Fail(ErrorCode::kInvalid, "missing parameters");
        const std::string& url = flags->picture_url;
        if (!url.empty() && !url.starts_with("https://") && !url.starts_with("http://")) {
          return Fail(ErrorCode::kInvalid, "invalid picture URL: " + Printable(url) +
                                               " does not begin with https:// or http://");
        }
        Value body = Value::Object({{"name", Value::String(flags->name)},
                                    {"displayName", Value::String(flags->display_name)},
                                    {"email", Value::String(flags->email)},
                                    {"pictureUrl", Value::String(url)}});
        auto answer = session.Post("/api/v1/user", body);
        if (!answer) return core::Forward(answer);
        session.Print((*answer)["user"], "User created");
        return 0;
      });
  tree.ShowAsRequired(
      *command,
      command->add_option("name", flags->name, "The name of the new user.")->type_name("NAME"));
  command->add_option("-d,--display-name", flags->display_name, "The name for people to read.")
      ->type_name("TEXT");
  command->add_option("-e,--email", flags->email, "The e-mail address.")->type_name("ADDRESS");
  command->add_option("-p,--picture-url", flags->picture_url, "Where the user's picture is.")
      ->type_name("URL");
}

void AddList(Tree& tree, CLI::App& users) {
  struct Flags {
    std::string id, name, email;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Command(
      users,
      {.name = "list",
       .aliases = {"ls", "show"},
       .summary = "list the users",
       .details = "Of several filters only one counts: the ID before the name before the e-mail "
                  "address."},
      [flags](Session& session) -> Result<int> {
        std::string target = "/api/v1/user";
        if (!flags->id.empty() && flags->id != "-1") {
          if (!IsDigits(flags->id)) {
            return Fail(ErrorCode::kInvalid,
                        "--identifier takes a number, not \"" + Printable(flags->id) + "\"");
          }
          target += "?id=" + flags->id;
        } else if (!flags->name.empty()) {
          target += "?name=" + UrlEncode(flags->name);
        } else if (!flags->email.empty()) {
          target += "?email=" + UrlEncode(flags->email);
        }
        auto answer = session.Get(target);
        if (!answer) return core::Forward(answer);
        const Value& list = (*answer)["users"];
        Table table({"ID", "Name", "Username", "Email", "Created"});
        for (const Value& user : list.items()) {
          table.Add({user["id"].text(), user["displayName"].text(), user["name"].text(),
                     user["email"].text(), TableTime(user["createdAt"], "-")});
        }
        session.PrintTable(list, table);
        return 0;
      });
  command->add_option("-i,--identifier", flags->id, "Only the user with this ID.")->type_name("ID");
  command->add_option("-n,--name", flags->name, "Only the user with this name.")->type_name("NAME");
  command->add_option("-e,--email", flags->email, "Only users with this e-mail address.")
      ->type_name("ADDRESS");
}

void AddDestroy(Tree& tree, CLI::App& users) {
  const auto selector = std::make_shared<Selector>();
  CLI::App* command = tree.Command(
      users,
      {.name = "destroy",
       .aliases = {"delete"},
       .summary = "delete a user",
       .details = "Refused while the user owns nodes. The user's pre-auth keys go too. Asks "
                  "first.",
       .examples = {{"users destroy -n alice", "Delete the user alice."}}},
      [selector](Session& session) -> Result<int> {
        auto user = Select(session, *selector);
        if (!user) return core::Forward(user);
        const std::string id = (*user)["id"].text();
        if (!session.Confirm("Do you want to remove the user \"" +
                             Printable((*user)["name"].text()) + "\" (" + id +
                             ") and any associated preauthkeys?")) {
          session.Print(Value::Object({{"Result", Value::String("User not destroyed")}}),
                        "User not destroyed");
          return 0;
        }
        auto answer = session.Delete("/api/v1/user/" + UrlEncode(id));
        if (!answer) return core::Forward(answer);
        session.Print(*answer, "User destroyed");
        return 0;
      });
  AddSelector(*command, *selector);
  command->add_option("user", selector->positional, "The user's name or ID, for short.")
      ->type_name("USER");
}

void AddRename(Tree& tree, CLI::App& users) {
  struct Flags {
    Selector selector;
    std::string new_name, new_name_positional;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Command(
      users,
      {.name = "rename",
       .aliases = {"mv"},
       .summary = "give a user another name",
       .details = "",
       .examples = {{"users rename -n alice -r alice2", "Rename alice to alice2."},
                    {"users rename alice alice2", "The same, for short."}}},
      [flags](Session& session) -> Result<int> {
        std::string new_name = flags->new_name;
        Selector selector = flags->selector;
        // "rename -i 1 NEW" and "rename OLD NEW" are both found in tutorials.
        if (new_name.empty() && (!selector.id.empty() || !selector.name.empty())) {
          new_name = selector.positional;
        } else if (new_name.empty()) {
          new_name = flags->new_name_positional;
        }
        if (selector.id.empty() && selector.name.empty() && selector.positional.empty()) {
          if (new_name.empty()) {
            return Fail(ErrorCode::kInvalid, "required flag(s) \"new-name\" not set");
          }
          return Fail(ErrorCode::kInvalid, "--name or --identifier flag is required");
        }
        if (new_name.empty()) {
          return Fail(ErrorCode::kInvalid, "required flag(s) \"new-name\" not set");
        }
        auto user = Select(session, selector);
        if (!user) return core::Forward(user);
        auto answer = session.Post("/api/v1/user/" + UrlEncode((*user)["id"].text()) + "/rename/" +
                                   UrlEncode(new_name));
        if (!answer) return core::Forward(answer);
        session.Print((*answer)["user"], "User renamed");
        return 0;
      });
  AddSelector(*command, flags->selector);
  command->add_option("-r,--new-name", flags->new_name, "The new name.")->type_name("NAME");
  command->add_option("user", flags->selector.positional, "The user's name or ID, for short.")
      ->type_name("USER");
  command->add_option("new", flags->new_name_positional, "The new name, for short.")
      ->type_name("NEW_NAME");
}

}  // namespace

void AddUserCommands(Tree& tree) {
  CLI::App* users = tree.Group(
      tree.root(), {.name = "users",
                    .aliases = {"user", "namespaces", "namespace", "ns"},
                    .summary = "manage users",
                    .details = "Every node belongs to a user or carries tags. Wherever a command "
                               "takes a user, digits are an ID and anything else a name."});
  AddCreate(tree, *users);
  AddList(tree, *users);
  AddDestroy(tree, *users);
  AddRename(tree, *users);
}

}  // namespace ringscale::ctl
