// Completion: the scripts ask the program itself (`ringscale __complete WORDS`),
// so they never fall behind it.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <ostream>
#include <string>

#include "tools/ctl/tree.h"

namespace ringscale::ctl {
namespace {

using core::Result;

constexpr std::string_view kBash = R"sh(# bash completion for ringscale
_ringscale() {
  local IFS=$'\n' words
  words=("${COMP_WORDS[@]:1:COMP_CWORD}")
  COMPREPLY=($(ringscale __complete -- "${words[@]}" 2>/dev/null | cut -f1))
}
complete -o default -F _ringscale ringscale
)sh";

constexpr std::string_view kZsh = R"sh(#compdef ringscale
_ringscale() {
  local -a lines candidates
  lines=("${(@f)$(ringscale __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  candidates=("${(@)${(@)lines:#}/$'\t'/:}")
  (( $#candidates )) && _describe 'ringscale' candidates || _files
}
if [ "$funcstack[1]" = "_ringscale" ]; then _ringscale "$@"; else compdef _ringscale ringscale; fi
)sh";

constexpr std::string_view kFish = R"sh(# fish completion for ringscale
complete -c ringscale -a '(ringscale __complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
)sh";

struct Shell {
  std::string_view name;
  std::string_view script;
  std::string_view how;
};
constexpr std::array kShells = {
    Shell{"bash", kBash, "  source <(ringscale completion bash)"},
    Shell{"zsh", kZsh, "  source <(ringscale completion zsh)"},
    Shell{"fish", kFish, "  ringscale completion fish | source"},
};

struct Candidate {
  std::string word;
  std::string description;
};

// The option of `app` or of a command above it that `word` names, if any.
const CLI::Option* FindOption(const CLI::App* app, const std::string& word) {
  for (; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* option : app->get_options(nullptr)) {
      if (!option->get_positional() && option->check_name(word)) return option;
    }
  }
  return nullptr;
}

std::vector<Candidate> Candidates(Tree& tree, const std::vector<std::string>& words) {
  const CLI::App* app = &tree.root();
  const std::string current = words.empty() ? "" : words.back();
  bool value_expected = false;
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (value_expected) {
      value_expected = false;
      continue;
    }
    if (words[i].starts_with("-")) {
      const CLI::Option* option = FindOption(app, words[i]);
      value_expected = option != nullptr && option->get_expected_max() > 0;
      continue;
    }
    for (const CLI::App* below : app->get_subcommands(nullptr)) {
      if (below->check_name(words[i])) {
        app = below;
        break;
      }
    }
  }
  std::vector<Candidate> out;
  const auto offer = [&](const std::string& word, const std::string& description) {
    if (word.starts_with(current)) out.push_back({word, description});
  };
  if (value_expected) {
    const CLI::Option* option = FindOption(app, words[words.size() - 2]);
    if (option == FindOption(app, "--output")) {
      for (const char* format : {"json", "json-line", "yaml"}) offer(format, "");
    }
    return out;
  }
  if (current.starts_with("-")) {
    for (const CLI::App* level = app; level != nullptr; level = level->get_parent()) {
      for (const CLI::Option* option : level->get_options(nullptr)) {
        if (option->get_group().empty() || option->get_positional()) continue;
        for (const std::string& name : option->get_lnames()) {
          offer("--" + name, option->get_description());
        }
      }
    }
    offer("--help", "Print the command's page.");
    return out;
  }
  for (const CLI::App* below : tree.Listed(*app)) {
    offer(below->get_name(), tree.text(*below).summary);
  }
  return out;
}

}  // namespace

void AddCompletionCommands(Tree& tree) {
  CLI::App* completion =
      tree.Group(tree.root(), {.name = "completion",
                               .aliases = {},
                               .summary = "print a completion script for a shell",
                               .details = ""});
  for (const Shell& shell : kShells) {
    tree.Command(*completion,
                 {.name = std::string(shell.name),
                  .aliases = {},
                  .summary = "completion for " + std::string(shell.name),
                  .details = "For this session:\n\n" + std::string(shell.how)},
                 [&shell](Session& session) -> Result<int> {
                   *session.terminal().out << shell.script;
                   return 0;
                 });
  }
  const auto words = std::make_shared<std::vector<std::string>>();
  CLI::App* complete = tree.Command(
      tree.root(),
      {.name = "__complete", .aliases = {}, .summary = "", .details = "", .hidden = true},
      [words, &tree](Session& session) -> Result<int> {
        for (const Candidate& candidate : Candidates(tree, *words)) {
          *session.terminal().out << candidate.word << '\t' << candidate.description << '\n';
        }
        return 0;
      });
  complete->add_option("words", *words, "")->type_name("WORDS");
}

}  // namespace ringscale::ctl
