#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <ostream>
#include <string>

#include "tools/ctl/arguments.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/help.h"
#include "tools/ctl/tree.h"

namespace ringscale::ctl {
namespace {

// The command that was named last.
const CLI::App& Selected(const CLI::App& root) {
  const CLI::App* app = &root;
  for (;;) {
    const auto below = app->get_subcommands();
    if (below.empty()) return *app;
    app = below.front();
  }
}

bool IsHelp(const std::string& argument) {
  return argument == "-h" || argument == "--help";
}

std::string Quoted(const std::string& text) {
  return "\"" + Printable(text) + "\"";
}

// What is wrong, in words; empty when the arguments fit a command.
std::string Complaint(const Tree& tree, const CLI::App& root, const CLI::App& selected) {
  auto remaining = root.remaining(true);
  std::erase(remaining, "--");  // the parser keeps the mark itself too
  if (!remaining.empty()) {
    const auto flag = std::ranges::find_if(
        remaining, [](const std::string& word) { return word.size() > 1 && word[0] == '-'; });
    if (flag != remaining.end()) return "unknown flag: " + Printable(*flag);
    if (tree.action(selected) == nullptr) {
      return "unknown command " + Quoted(remaining.front()) + " for " +
             Quoted(tree.FullName(selected));
    }
    return "unexpected argument " + Quoted(remaining.front());
  }
  const auto missing = tree.Missing(selected);
  if (missing.empty()) return "";
  std::string names;
  for (const std::string& name : missing) names += (names.empty() ? "\"" : ", \"") + name + "\"";
  return "required flag(s) " + names + " not set";
}

}  // namespace

int Run(const std::vector<std::string>& arguments, const Commands& commands, Terminal& terminal) {
  const auto tree = BuildTree();
  CLI::App& root = tree->root();
  Session session(commands, terminal, tree->globals());

  // Help is asked for wherever it stands, also where the rest would not parse.
  std::vector<std::string> words = NormalizeArguments(arguments);
  const auto end = std::ranges::find(words, "--");
  const auto help = std::ranges::find_if(words.begin(), end, IsHelp);
  const bool wants_help = help != end && (words.empty() || words.front() != "__complete");
  if (wants_help) std::erase_if(words, IsHelp);

  std::string complaint;
  try {
    std::vector<std::string> reversed(words.rbegin(), words.rend());
    root.allow_extras();
    root.parse(std::move(reversed));
    complaint = Complaint(*tree, root, Selected(root));
  } catch (const CLI::Error& error) {
    complaint = error.what();
  }
  const CLI::App& selected = Selected(root);
  if (wants_help) {
    *terminal.out << HelpPage(*tree, selected);
    return 0;
  }
  if (complaint.empty() && tree->action(selected) == nullptr) {
    *terminal.out << HelpPage(*tree, selected);
    return 0;
  }
  const auto format = session.SetFormat();
  if (complaint.empty() && !format) complaint = format.error().message;
  if (!complaint.empty()) {
    session.PrintError({core::ErrorCode::kInvalid, complaint});
    if (session.human()) {
      session.Note("Run `" + tree->FullName(selected) + " --help` for its usage.");
    }
    return 1;
  }
  const auto code = tree->action(selected)(session);
  terminal.out->flush();
  if (!code) {
    session.PrintError(code.error());
    return 1;
  }
  if (!*terminal.out) {
    session.PrintError({core::ErrorCode::kIo, "cannot write to standard output"});
    return 1;
  }
  return *code;
}

int Main(int argc, char** argv, const Commands& commands) {
  Terminal terminal;
  terminal.in = &std::cin;
  terminal.out = &std::cout;
  terminal.err = &std::cerr;
  terminal.out_fd = STDOUT_FILENO;
  const char* no_colour = std::getenv("NO_COLOR");
  terminal.out_is_tty =
      ::isatty(STDOUT_FILENO) != 0 && (no_colour == nullptr || *no_colour == '\0');
  return Run(std::vector<std::string>(argv + std::min(argc, 1), argv + argc), commands, terminal);
}

}  // namespace ringscale::ctl
