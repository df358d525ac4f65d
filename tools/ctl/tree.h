// The tree of commands: CLI11's parser plus what help, completion and the
// reference need to know about each command.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "tools/ctl/session.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace ringscale::ctl {

// What a command does; the value is the exit code.
using Action = std::function<core::Result<int>(Session&)>;

struct CommandText {
  std::string name;
  std::vector<std::string> aliases;
  std::string summary;  // one line, lower case, no full stop
  std::string details;  // paragraphs separated by empty lines
  // Each: a command line and what it does, "users create alice" without the program.
  std::vector<std::pair<std::string, std::string>> examples;
  bool hidden = false;  // works, but is not listed: old forms
};

class Tree {
 public:
  Tree();
  ~Tree();
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  [[nodiscard]] CLI::App& root() { return *root_; }
  [[nodiscard]] Globals& globals() { return globals_; }

  // A command that has commands of its own.
  CLI::App* Group(CLI::App& parent, CommandText text);
  CLI::App* Command(CLI::App& parent, CommandText text, Action action);

  // The option must be given; "required flag(s) "x" not set" otherwise. Checked
  // after parsing, so that all missing ones are named.
  void Require(CLI::App& command, CLI::Option* option);
  // The same for the synopsis only: the command itself says what is missing.
  void ShowAsRequired(CLI::App& command, CLI::Option* option);

  [[nodiscard]] const CommandText& text(const CLI::App& app) const;
  [[nodiscard]] const Action& action(const CLI::App& app) const;
  [[nodiscard]] bool required(const CLI::App& app, const CLI::Option& option) const;
  // The missing required options' long names.
  [[nodiscard]] std::vector<std::string> Missing(const CLI::App& app) const;
  // "ringscale nodes list".
  [[nodiscard]] std::string FullName(const CLI::App& app) const;
  // Commands below `app` that are listed, in the order in which they were added.
  [[nodiscard]] std::vector<const CLI::App*> Listed(const CLI::App& app) const;

 private:
  struct Entry {
    CommandText text;
    Action action;
    std::vector<const CLI::Option*> required;
    std::vector<const CLI::Option*> shown_as_required;
  };
  CLI::App* Add(CLI::App& parent, CommandText text, Action action);

  std::unique_ptr<CLI::App> root_;
  Globals globals_;
  std::map<const CLI::App*, Entry> entries_;
};

// The commands, one function per group.
void AddServerCommands(Tree& tree);  // serve, configtest, health, version
void AddRelayCommands(Tree& tree);   // relay
void AddUserCommands(Tree& tree);    // users
void AddNodeCommands(Tree& tree);    // nodes
void AddNodeShow(Tree& tree, CLI::App& nodes);
void AddRouteCommands(Tree& tree, CLI::App& nodes);  // nodes ...-routes, and the old routes
void AddKeyCommands(Tree& tree);                     // preauthkeys
void AddAuthCommands(Tree& tree);                    // auth
void AddPolicyCommands(Tree& tree);                  // policy
void AddDataCommands(Tree& tree);                    // backup, restore, generate
void AddCompletionCommands(Tree& tree);              // completion, __complete

// The whole tree, ready to parse.
std::unique_ptr<Tree> BuildTree();

}  // namespace ringscale::ctl
