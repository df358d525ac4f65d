// One command while it runs: its output format, its server, its prompts.
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.h"
#include "tools/ctl/commands.h"
#include "tools/ctl/http.h"
#include "tools/ctl/render.h"
#include "tools/ctl/table.h"
#include "tools/ctl/value.h"

namespace ringscale::ctl {

// Flags of every command.
struct Globals {
  ClientOptions client;
  std::string output;
  bool force = false;
};

class Session {
 public:
  Session(const Commands& commands, Terminal& terminal, const Globals& globals)
      : commands_(commands), terminal_(terminal), globals_(globals) {}

  [[nodiscard]] const Commands& commands() const { return commands_; }
  [[nodiscard]] const Globals& globals() const { return globals_; }
  [[nodiscard]] Terminal& terminal() { return terminal_; }
  [[nodiscard]] core::WallTime Now() const { return terminal_.now(); }

  // kInvalid for an unknown format.
  core::Result<> SetFormat();
  [[nodiscard]] bool human() const { return format_ == Format::kHuman; }

  // One call of the API. `target` is path and query. A refusal becomes an Error
  // with the server's words.
  core::Result<Value> Get(const std::string& target);
  core::Result<Value> Post(const std::string& target, const Value& body = {});
  core::Result<Value> Put(const std::string& target, const Value& body);
  core::Result<Value> Delete(const std::string& target);
  // A GET whose body goes to `sink`.
  core::Result<> Download(const std::string& target, const BodySink& sink);

  // The result: `machine` in the asked format, or `human` (a newline is added).
  void Print(const Value& machine, std::string_view human);
  // The same for lists of people: the table, and nothing after it.
  void PrintTable(const Value& machine, const Table& table);
  // A remark for people, on stderr whatever the format.
  void Note(std::string_view text);
  void PrintError(const core::Error& error);

  // Asks on stderr and reads one line: y, yes or sure. True without asking when
  // --force was given. Anything else, end of input included, is a no.
  bool Confirm(std::string_view question);

 private:
  core::Result<HttpOptions> Server();
  core::Result<Value> Call(const HttpRequest& request);

  const Commands& commands_;
  Terminal& terminal_;
  const Globals& globals_;
  Format format_ = Format::kHuman;
};

// "2026-07-01 10:00:00" of an RFC 3339 time, in its own zone; `none` when empty
// or Go's zero time.
[[nodiscard]] std::string TableTime(const Value& time, std::string_view none);
// The same, green when in the future and red when past.
[[nodiscard]] Cell ExpiryCell(const Value& time, core::WallTime now, std::string_view none);

// Splits "a,b" and repeated flags into one list; empty elements are dropped.
[[nodiscard]] std::vector<std::string> SplitList(const std::vector<std::string>& values);
// True for a non-empty text of digits: an ID where a name is possible too.
[[nodiscard]] bool IsDigits(std::string_view text);

// The one user that a name or an ID means.
core::Result<Value> FindUser(Session& session, const std::string& name_or_id);

}  // namespace ringscale::ctl
