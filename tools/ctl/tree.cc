#include "tools/ctl/tree.h"

#include <CLI/CLI.hpp>

#include <algorithm>

#include "tools/ctl/help.h"

namespace ringscale::ctl {

Tree::Tree() : root_(std::make_unique<CLI::App>("", "ringscale")) {
  entries_[root_.get()].text = {
      .name = "ringscale",
      .aliases = {},
      .summary = "a private network for Tailscale clients: coordination server and relay",
      .details =
          "ringscale serve runs the server; the other commands manage it from the same "
          "machine, over a Unix socket in its data directory.\n\n"
          "They find the socket by the server's configuration: --config, else "
          "$RINGSCALE_CONFIG, else /etc/ringscale/ringscale.toml, else ./ringscale.toml, "
          "else the defaults. --data-dir names the data directory of a server that runs "
          "without a configuration file, --socket the socket itself.\n\n"
          "Results go to standard output, errors and questions to standard error. On a "
          "terminal tables have colours, unless $NO_COLOR is set.",
      .examples = {{"serve", "Run a server with the defaults."},
                   {"users create alice", "Make a user."},
                   {"preauthkeys create -u alice --reusable --expiration 24h",
                    "Make a key with which devices of alice join by themselves."},
                   {"nodes list -o json", "List the nodes for a script."}}};
  root_->require_subcommand(0, 1);
  root_->fallthrough();
  root_->set_help_flag();
  root_->add_option("-c,--config", globals_.client.config, "The server's configuration file.")
      ->type_name("FILE");
  root_->add_option("--data-dir", globals_.client.data_dir, "The server's data directory.")
      ->type_name("DIR");
  root_->add_option("--socket", globals_.client.socket, "The server's local socket.")
      ->type_name("PATH");
  root_
      ->add_option("-o,--output", globals_.output,
                   "Print the result as json, json-line (compact) or yaml.")
      ->type_name("FORMAT");
  root_->add_flag("--force", globals_.force, "Answer every question with yes.");
}

Tree::~Tree() = default;

CLI::App* Tree::Add(CLI::App& parent, CommandText text, Action action) {
  CLI::App* app = parent.add_subcommand(text.name, text.summary);
  for (const std::string& alias : text.aliases) app->alias(alias);
  app->set_help_flag();
  app->fallthrough();
  if (text.hidden) app->group("");
  Entry& entry = entries_[app];
  entry.text = std::move(text);
  entry.action = std::move(action);
  return app;
}

CLI::App* Tree::Group(CLI::App& parent, CommandText text) {
  CLI::App* app = Add(parent, std::move(text), nullptr);
  app->require_subcommand(0, 1);
  return app;
}

CLI::App* Tree::Command(CLI::App& parent, CommandText text, Action action) {
  return Add(parent, std::move(text), std::move(action));
}

void Tree::Require(CLI::App& command, CLI::Option* option) {
  entries_[&command].required.push_back(option);
}

void Tree::ShowAsRequired(CLI::App& command, CLI::Option* option) {
  entries_[&command].shown_as_required.push_back(option);
}

const CommandText& Tree::text(const CLI::App& app) const {
  return entries_.at(&app).text;
}

const Action& Tree::action(const CLI::App& app) const {
  return entries_.at(&app).action;
}

bool Tree::required(const CLI::App& app, const CLI::Option& option) const {
  const Entry& entry = entries_.at(&app);
  return std::ranges::find(entry.required, &option) != entry.required.end() ||
         std::ranges::find(entry.shown_as_required, &option) != entry.shown_as_required.end();
}

std::vector<std::string> Tree::Missing(const CLI::App& app) const {
  std::vector<std::string> missing;
  for (const CLI::Option* option : entries_.at(&app).required) {
    if (option->count() == 0) missing.push_back(option->get_lnames().front());
  }
  return missing;
}

std::string Tree::FullName(const CLI::App& app) const {
  if (&app == root_.get()) return "ringscale";
  return FullName(*app.get_parent()) + " " + text(app).name;
}

std::vector<const CLI::App*> Tree::Listed(const CLI::App& app) const {
  std::vector<const CLI::App*> listed;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    if (!text(*command).hidden) listed.push_back(command);
  }
  return listed;
}

std::unique_ptr<Tree> BuildTree() {
  auto tree = std::make_unique<Tree>();
  AddServerCommands(*tree);
  AddRelayCommands(*tree);
  AddUserCommands(*tree);
  AddNodeCommands(*tree);
  AddKeyCommands(*tree);
  AddAuthCommands(*tree);
  AddPolicyCommands(*tree);
  AddDataCommands(*tree);
  AddCompletionCommands(*tree);
  return tree;
}

}  // namespace ringscale::ctl
