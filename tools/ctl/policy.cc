#include <pwd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "control/policy/format.h"
#include "tools/ctl/tree.h"

namespace ringscale::ctl {
namespace {

using core::ErrorCode;
using core::Fail;
using core::Result;

// The whole of a file; "-" is standard input.
Result<std::string> ReadText(Session& session, const std::string& path) {
  if (path.empty()) return Fail(ErrorCode::kInvalid, "required flag(s) \"file\" not set");
  std::ostringstream text;
  if (path == "-") {
    text << session.terminal().in->rdbuf();
    return std::move(text).str();
  }
  std::ifstream in(path, std::ios::binary);
  if (in) text << in.rdbuf();
  if (!in) return Fail(ErrorCode::kIo, "cannot read " + path);
  return std::move(text).str();
}

void AddFile(Tree& tree, CLI::App& command, std::string& file) {
  tree.ShowAsRequired(
      command, command.add_option("-f,--file", file, "The policy file; - is standard input.")
                   ->type_name("FILE"));
}

std::string Lines(const Value& list) {
  std::string out;
  for (const Value& line : list.items()) out += (out.empty() ? "" : "\n") + line.text();
  return out;
}

// What the server says to a policy before it is set.
Result<Value> Check(Session& session, const std::string& text) {
  return session.Post("/api/v1/policy/check", Value::Object({{"policy", Value::String(text)}}));
}

// Who is at the command line; behind sudo, who was there before.
std::string Author() {
  const char* const sudo = std::getenv("SUDO_USER");
  if (sudo != nullptr && *sudo != '\0') return sudo;
  const passwd* const user = getpwuid(getuid());
  return user != nullptr ? user->pw_name : "user " + std::to_string(getuid());
}

std::string Changes(const Value& checked) {
  const std::string effects = Lines(checked["effects"]);
  std::string out = effects.empty() ? "Nothing changes for the nodes of now." : effects;
  if (const std::string remarks = Lines(checked["remarks"]); !remarks.empty()) {
    out += "\n" + remarks;
  }
  return out;
}

void AddGet(Tree& tree, CLI::App& policy) {
  const auto version = std::make_shared<std::string>();
  CLI::App* command = tree.Command(
      policy,
      {.name = "get",
       .aliases = {"show", "view", "fetch"},
       .summary = "print the policy that is in force",
       .details = "As it was written, comments included.",
       .examples = {{"policy get > policy.hujson", "Keep a copy."},
                    {"policy get --version 3", "An older one."}}},
      [version](Session& session) -> Result<int> {
        auto answer = session.Get(
            version->empty() ? "/api/v1/policy" : "/api/v1/policy/history/" + UrlEncode(*version));
        if (!answer) return core::Forward(answer);
        std::string text = (*answer)["policy"].text();
        if (text.ends_with('\n')) text.pop_back();
        *session.terminal().out << text << "\n";
        return 0;
      });
  command->add_option("--version", *version, "The version to print (policy history).")
      ->type_name("VERSION");
}

Result<int> Set(Session& session, const std::string& text, bool yes) {
  auto checked = Check(session, text);
  if (!checked) return core::Forward(checked);
  session.Note(Changes(*checked));
  if (!yes && !session.Confirm("Put this policy in force?")) {
    session.Print(Value::Object({{"Result", Value::String("Policy not changed")}}),
                  "Policy not changed");
    return 0;
  }
  auto answer = session.Put("/api/v1/policy", Value::Object({{"policy", Value::String(text)},
                                                             {"author", Value::String(Author())}}));
  if (!answer) return core::Forward(answer);
  session.Print(*answer, "Policy updated.");
  return 0;
}

void AddSet(Tree& tree, CLI::App& policy) {
  struct Flags {
    std::string file, version;
    bool yes = false;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Command(
      policy,
      {.name = "set",
       .aliases = {"put", "update"},
       .summary = "put another policy in force",
       .details =
           "Shows first which nodes gain and lose peers and what else may come in, and asks. A "
           "policy that is wrong, "
           "or whose own tests fail, changes nothing. Needs policy.mode = \"database\".",
       .examples = {{"policy set -f policy.hujson", "From a file."},
                    {"policy set --version 3 --yes",
                     "Back to an older version, without a question."}}},
      [flags](Session& session) -> Result<int> {
        if (!flags->version.empty()) {
          auto old = session.Get("/api/v1/policy/history/" + UrlEncode(flags->version));
          if (!old) return core::Forward(old);
          return Set(session, (*old)["policy"].text(), flags->yes);
        }
        auto text = ReadText(session, flags->file);
        if (!text) return core::Forward(text);
        return Set(session, *text, flags->yes);
      });
  AddFile(tree, *command, flags->file);
  command->add_option("--version", flags->version, "An older version instead of a file.")
      ->type_name("VERSION");
  command->add_flag("--yes", flags->yes, "Do not ask.");
}

void AddChecks(Tree& tree, CLI::App& policy) {
  const auto file = std::make_shared<std::string>();
  const auto check = [file](Session& session, bool show) -> Result<int> {
    auto text = ReadText(session, *file);
    if (!text) return core::Forward(text);
    auto checked = Check(session, *text);
    if (!checked) return core::Forward(checked);
    const std::string remarks = Lines((*checked)["remarks"]);
    session.Print(*checked, show ? Changes(*checked)
                                 : "Policy is valid" + (remarks.empty() ? "" : "\n" + remarks));
    return 0;
  };
  CLI::App* command = tree.Command(
      policy,
      {.name = "check",
       .aliases = {},
       .summary = "look for mistakes in a policy",
       .details = "Against the users and nodes of the running server, with the policy's own tests "
                  "and sshTests. Nothing changes.",
       .examples = {{"policy check -f policy.hujson", "Before it is set."}}},
      [check](Session& session) { return check(session, false); });
  AddFile(tree, *command, *file);
  command = tree.Command(
      policy,
      {.name = "diff",
       .aliases = {},
       .summary = "show what a policy would change",
       .details = "Which nodes would gain and lose peers, and which rules they would get."},
      [check](Session& session) { return check(session, true); });
  AddFile(tree, *command, *file);
  tree.Command(policy,
               {.name = "test",
                .aliases = {},
                .summary = "run the tests of the policy that is in force",
                .details = "Its tests and sshTests, against the nodes of now."},
               [](Session& session) -> Result<int> {
                 auto now = session.Get("/api/v1/policy");
                 if (!now) return core::Forward(now);
                 auto checked = Check(session, (*now)["policy"].text());
                 if (!checked) return core::Forward(checked);
                 session.Print(*checked, "All tests of the policy hold.");
                 return 0;
               });
}

void AddFormat(Tree& tree, CLI::App& policy) {
  struct Flags {
    std::string file;
    bool write = false;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Command(
      policy,
      {.name = "fmt",
       .aliases = {},
       .summary = "lay a policy file out in the usual way",
       .details = "Indentation, blanks and commas; comments and the order of lines stay. Prints "
                  "the result unless -w is given. Needs no server."},
      [flags](Session& session) -> Result<int> {
        auto text = ReadText(session, flags->file);
        if (!text) return core::Forward(text);
        auto formatted = control::policy::FormatHuJson(*text);
        if (!formatted) return Fail(ErrorCode::kInvalid, formatted.error().text());
        if (!flags->write || flags->file == "-") {
          *session.terminal().out << *formatted;
          return 0;
        }
        std::ofstream out(flags->file, std::ios::binary | std::ios::trunc);
        out << *formatted;
        if (!out.flush()) return Fail(ErrorCode::kIo, "cannot write " + flags->file);
        return 0;
      });
  AddFile(tree, *command, flags->file);
  command->add_flag("-w,--write", flags->write, "Write the file instead of printing.");
}

void AddHistory(Tree& tree, CLI::App& policy) {
  tree.Command(
      policy,
      {.name = "history",
       .aliases = {},
       .summary = "list the policies that were set",
       .details = "With policy.mode = \"database\". policy set --version goes back to one."},
      [](Session& session) -> Result<int> {
        auto answer = session.Get("/api/v1/policy/history");
        if (!answer) return core::Forward(answer);
        const Value& list = (*answer)["policies"];
        Table table({"Version", "Set", "By"});
        for (const Value& entry : list.items()) {
          table.Add({entry["version"].text(), TableTime(entry["createdAt"], "-"),
                     entry["author"].text()});
        }
        session.PrintTable(list, table);
        return 0;
      });
}

void AddExplain(Tree& tree, CLI::App& policy) {
  struct Flags {
    std::string src, dst;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Command(
      policy,
      {.name = "explain",
       .aliases = {},
       .summary = "say why one may or may not reach another",
       .details = "Which rules allow it, or which come near and why they do not. Nodes are named "
                  "as in nodes list or by address; users, groups and tags as in the policy.",
       .examples = {{"policy explain laptop db:5432", "A connection."},
                    {"policy explain alice@example.com tag:web", "Anything from alice."}}},
      [flags](Session& session) -> Result<int> {
        if (flags->src.empty() || flags->dst.empty()) {
          return Fail(ErrorCode::kInvalid, "missing parameters: SRC DST[:PORT]");
        }
        std::string dst = flags->dst;
        std::string port;
        const auto colon = dst.rfind(':');
        if (colon != std::string::npos && IsDigits(dst.substr(colon + 1)) &&
            (dst.find(':') == colon || dst.starts_with("tag:") || dst.starts_with("group:") ||
             dst.starts_with("autogroup:"))) {
          port = dst.substr(colon + 1);
          dst.resize(colon);
        }
        std::string target =
            "/api/v1/policy/explain?src=" + UrlEncode(flags->src) + "&dst=" + UrlEncode(dst);
        if (!port.empty()) target += "&port=" + port;
        auto answer = session.Get(target);
        if (!answer) return core::Forward(answer);
        session.Print(*answer, Lines((*answer)["lines"]));
        return 0;
      });
  tree.ShowAsRequired(*command,
                      command->add_option("src", flags->src, "Who connects.")->type_name("SRC"));
  tree.ShowAsRequired(*command,
                      command->add_option("dst", flags->dst, "To whom, and to which port.")
                          ->type_name("DST[:PORT]"));
}

}  // namespace

void AddPolicyCommands(Tree& tree) {
  CLI::App* policy =
      tree.Group(tree.root(),
                 {.name = "policy",
                  .aliases = {},
                  .summary = "who may reach whom",
                  .details = "Policies are written as Tailscale's (HuJSON). They come from a file "
                             "(policy.path) or are set here and kept by the server (policy.mode = "
                             "\"database\")."});
  AddGet(tree, *policy);
  AddSet(tree, *policy);
  AddChecks(tree, *policy);
  AddFormat(tree, *policy);
  AddHistory(tree, *policy);
  AddExplain(tree, *policy);
}

}  // namespace ringscale::ctl
