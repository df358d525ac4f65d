#include "tools/ctl/help.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <string_view>

namespace ringscale::ctl {
namespace {

constexpr std::size_t kWidth = 80;

// Appends paragraphs, filled to the width, every line indented. Paragraphs are
// separated by empty lines; a line that begins with a blank is kept as it is.
void AppendFilled(std::string& out, std::string_view text, std::size_t indent) {
  const std::string margin(indent, ' ');
  std::string line;
  const auto flush = [&] {
    if (!line.empty()) out += margin + line + "\n";
    line.clear();
  };
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view source = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (source.empty()) {
      flush();
      out += "\n";
      continue;
    }
    if (source.front() == ' ') {
      flush();
      out += margin + std::string(source) + "\n";
      continue;
    }
    while (!source.empty()) {
      const std::size_t blank = source.find(' ');
      const std::string_view word = source.substr(0, blank);
      source = blank == std::string_view::npos ? std::string_view() : source.substr(blank + 1);
      if (word.empty()) continue;
      if (!line.empty() && indent + line.size() + 1 + word.size() > kWidth) flush();
      if (!line.empty()) line += ' ';
      line += word;
    }
  }
  flush();
}

bool Listed(const CLI::Option& option) {
  return !option.get_group().empty();
}

// "-u, --user USER".
std::string Flags(const CLI::Option& option) {
  std::string out;
  for (const std::string& name : option.get_snames()) out += (out.empty() ? "-" : ", -") + name;
  for (const std::string& name : option.get_lnames()) out += (out.empty() ? "--" : ", --") + name;
  if (option.get_expected_max() > 0) out += " " + option.get_type_name();
  return out;
}

// One option of a synopsis: "[-u USER]", "--key KEY".
std::string Usage(const CLI::Option& option, bool required) {
  std::string out = !option.get_snames().empty() ? "-" + option.get_snames().front()
                                                 : "--" + option.get_lnames().front();
  if (option.get_expected_max() > 0) out += " " + option.get_type_name();
  return required ? out : "[" + out + "]";
}

struct Options {
  std::vector<const CLI::Option*> positional;
  std::vector<const CLI::Option*> flags;
};

Options OptionsOf(const CLI::App& app) {
  Options out;
  for (const CLI::Option* option : app.get_options(nullptr)) {
    if (!Listed(*option)) continue;
    (option->get_positional() ? out.positional : out.flags).push_back(option);
  }
  return out;
}

std::string Synopsis(const Tree& tree, const CLI::App& app) {
  std::string out = tree.FullName(app);
  if (!tree.Listed(app).empty()) {
    return out + (tree.action(app) == nullptr ? " COMMAND [OPTIONS]" : " [COMMAND] [OPTIONS]");
  }
  const Options options = OptionsOf(app);
  for (const bool required : {true, false}) {
    for (const CLI::Option* option : options.flags) {
      if (tree.required(app, *option) == required) out += " " + Usage(*option, required);
    }
  }
  for (const CLI::Option* option : options.positional) {
    const std::string name = option->get_type_name();
    out += tree.required(app, *option) ? " " + name : " [" + name + "]";
  }
  return out;
}

std::string Description(const Tree& tree, const CLI::App& app, const CLI::Option& option) {
  std::string out = option.get_description();
  if (tree.required(app, option)) out += " Required.";
  return out;
}

std::string Join(const std::vector<std::string>& items) {
  std::string out;
  for (const std::string& item : items) out += (out.empty() ? "" : ", ") + item;
  return out;
}

// Every command that is listed, depth first.
void Collect(const Tree& tree, const CLI::App& app, std::vector<const CLI::App*>& out) {
  for (const CLI::App* command : tree.Listed(app)) {
    out.push_back(command);
    Collect(tree, *command, out);
  }
}

struct OldForm {
  std::string_view old;
  std::string_view today;
};
// What is still found in tutorials for headscale, and works.
constexpr std::array kOldForms = {
    OldForm{"namespaces, namespace, ns", "users"},
    OldForm{"machines, machine", "nodes"},
    OldForm{"nodes -n NAME ..., preauthkeys --namespace NAME ...", "-u USER"},
    OldForm{"users destroy NAME", "users destroy --name NAME"},
    OldForm{"users rename OLD NEW", "users rename --name OLD --new-name NEW"},
    OldForm{"nodes register --user USER --key mkey:...", "auth register --user USER --auth-id ID"},
    OldForm{"nodes register --user USER --key nodekey:...",
            "auth register --user USER --auth-id ID"},
    OldForm{"nodes list --tags", "nodes list"},
    OldForm{"preauthkeys -u USER list, preauthkeys -u USER create",
            "preauthkeys list -u USER, "
            "preauthkeys create -u USER"},
    OldForm{"preauthkeys -u USER expire KEY", "preauthkeys expire --id ID"},
    OldForm{"routes list", "nodes list-routes"},
    OldForm{"routes enable -r ROUTE_ID", "nodes approve-routes -i NODE -r ROUTES"},
    OldForm{"routes disable -r ROUTE_ID, routes delete -r ROUTE_ID",
            "nodes approve-routes -i NODE -r ROUTES"},
};

// Text for roff: backslashes, and control characters at the start of a line.
std::string Roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if ((out.empty() || out.back() == '\n') && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

// How a kind of page begins and ends lines that are kept as they are (those that begin
// with a space), and how it writes any line.
struct Markup {
  std::string_view keep;
  std::string_view fill;
  std::string (*line)(std::string_view line);
};
constexpr Markup kRoff{".nf\n", ".fi\n",
                       [](std::string_view line) { return line.empty() ? ".PP" : Roff(line); }};
constexpr Markup kMarkdown{"```\n", "```\n",
                           [](std::string_view line) { return std::string(line); }};

std::string Paragraphs(const Markup& markup, std::string_view text) {
  std::string out;
  bool literal = false;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    const bool kept = !line.empty() && line.front() == ' ';
    if (kept != literal) out += kept ? markup.keep : markup.fill;
    literal = kept;
    out += markup.line(line) + "\n";
  }
  if (literal) out += markup.fill;
  return out;
}

// "### `-u, --user USER`" would be too loud: a definition list.
void AppendMarkdownOptions(std::string& out, const Tree& tree, const CLI::App& app) {
  const Options options = OptionsOf(app);
  for (const auto* list : {&options.positional, &options.flags}) {
    for (const CLI::Option* option : *list) {
      const std::string name = option->get_positional() ? option->get_type_name() : Flags(*option);
      out += "- `" + name + "`: " + Description(tree, app, *option) + "\n";
    }
  }
}

}  // namespace

std::string HelpPage(const Tree& tree, const CLI::App& app) {
  const CommandText& text = tree.text(app);
  const CLI::App* root = &app;
  while (root->get_parent() != nullptr) root = root->get_parent();
  std::string out = "NAME\n";
  AppendFilled(out, tree.FullName(app) + " - " + text.summary, 4);
  out += "\nSYNOPSIS\n";
  AppendFilled(out, Synopsis(tree, app), 4);
  if (!text.aliases.empty()) {
    out += "\nALIASES\n";
    AppendFilled(out, Join(text.aliases), 4);
  }
  if (!text.details.empty()) {
    out += "\nDESCRIPTION\n";
    AppendFilled(out, text.details, 4);
  }
  const auto commands = tree.Listed(app);
  if (!commands.empty()) {
    out += "\nCOMMANDS\n";
    std::size_t width = 0;
    for (const CLI::App* command : commands) width = std::max(width, command->get_name().size());
    for (const CLI::App* command : commands) {
      std::string name = command->get_name();
      name.resize(width + 3, ' ');
      out += "    " + name + tree.text(*command).summary + "\n";
    }
  }
  const Options options = OptionsOf(app);
  if (&app != root && !(options.positional.empty() && options.flags.empty())) {
    out += "\nOPTIONS\n";
    for (const auto* list : {&options.positional, &options.flags}) {
      for (const CLI::Option* option : *list) {
        out +=
            "    " + (option->get_positional() ? option->get_type_name() : Flags(*option)) + "\n";
        AppendFilled(out, Description(tree, app, *option), 8);
      }
    }
  }
  out += "\nGLOBAL OPTIONS\n";
  for (const CLI::Option* option : OptionsOf(*root).flags) {
    out += "    " + Flags(*option) + "\n";
    AppendFilled(out, option->get_description(), 8);
  }
  out += "    -h, --help\n        Print this page.\n";
  if (!text.examples.empty()) {
    out += "\nEXAMPLES\n";
    for (const auto& [command, what] : text.examples) {
      out += "    ringscale " + command + "\n";
      AppendFilled(out, what, 8);
    }
  }
  out +=
      "\nEXIT STATUS\n    0 on success and when a question was answered with no; 1 on any error.\n";
  return out;
}

std::string MarkdownReference(const Tree& tree, const CLI::App& root) {
  std::string out =
      "# Command line reference\n\n"
      "<!-- Made from the program's own help texts; tests hold this file to them. -->\n\n";
  out += Paragraphs(kMarkdown, tree.text(root).details);
  out += "\nOptions of every command:\n\n";
  AppendMarkdownOptions(out, tree, root);
  out += "- `-h, --help`: Print the command's page.\n";
  out +=
      "\nThe exit status is 0 on success and when a question was answered with no, and 1 on "
      "any error.\n";
  std::vector<const CLI::App*> commands;
  Collect(tree, root, commands);
  for (const CLI::App* command : commands) {
    const CommandText& text = tree.text(*command);
    const bool top = command->get_parent() == &root;
    out += (top ? "\n## " : "\n### ") + tree.FullName(*command) + "\n\n";
    out += "`" + Synopsis(tree, *command) + "`\n\n";
    std::string summary = text.summary;
    summary[0] =
        static_cast<char>(summary[0] >= 'a' && summary[0] <= 'z' ? summary[0] - 32 : summary[0]);
    out += summary + ".";
    if (!text.aliases.empty()) out += " Aliases: `" + Join(text.aliases) + "`.";
    out += "\n";
    if (!text.details.empty()) out += "\n" + Paragraphs(kMarkdown, text.details);
    const Options options = OptionsOf(*command);
    if (!(options.positional.empty() && options.flags.empty())) {
      out += "\n";
      AppendMarkdownOptions(out, tree, *command);
    }
    for (const auto& [line, what] : text.examples) {
      out += "\n" + what + "\n\n```\nringscale " + line + "\n```\n";
    }
  }
  out +=
      "\n## Old forms\n\nThese forms of earlier headscale versions work as well.\n\n"
      "| old | today |\n|---|---|\n";
  for (const OldForm& form : kOldForms) {
    out += "| `" + std::string(form.old) + "` | `" + std::string(form.today) + "` |\n";
  }
  return out;
}

std::string ManualPage(const Tree& tree, const CLI::App& root) {
  const CommandText& head = tree.text(root);
  std::string out = ".TH RINGSCALE 1\n.SH NAME\nringscale \\- " + Roff(head.summary) + "\n";
  out += ".SH SYNOPSIS\n.B ringscale\n.I COMMAND\n[\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n";
  out += Paragraphs(kRoff, head.details);
  const auto options = [&](const CLI::App& app) {
    const Options found = OptionsOf(app);
    for (const auto* list : {&found.positional, &found.flags}) {
      for (const CLI::Option* option : *list) {
        const std::string name =
            option->get_positional() ? option->get_type_name() : Flags(*option);
        out += ".TP\n.B " + Roff(name) + "\n" + Roff(Description(tree, app, *option)) + "\n";
      }
    }
  };
  out += ".SH OPTIONS OF EVERY COMMAND\n";
  options(root);
  out += ".SH COMMANDS\n";
  std::vector<const CLI::App*> commands;
  Collect(tree, root, commands);
  for (const CLI::App* command : commands) {
    const CommandText& text = tree.text(*command);
    if (!tree.Listed(*command).empty()) continue;
    out += ".SS " + Roff(Synopsis(tree, *command)) + "\n" + Roff(text.summary) + ".\n";
    if (!text.aliases.empty()) out += "Aliases: " + Roff(Join(text.aliases)) + ".\n";
    if (!text.details.empty()) out += ".PP\n" + Paragraphs(kRoff, text.details);
    options(*command);
    for (const auto& [line, what] : text.examples) {
      out += ".PP\n" + Roff(what) + "\n.RS\n.B " + Roff("ringscale " + line) + "\n.RE\n";
    }
  }
  out +=
      ".SH EXIT STATUS\n0 on success and when a question was answered with no; 1 on any "
      "error.\n";
  return out;
}

}  // namespace ringscale::ctl
