// Command lines run in this process, against a server of the test.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/temp_folder.h"
#include "tests/tools/local_server.h"
#include "tools/ctl/commands.h"

namespace ringscale::ctl::testing {

struct Outcome {
  int code = -1;
  std::string out;
  std::string err;
};

struct RunOptions {
  std::string input;  // standard input
  bool tty = false;
  core::WallTime now = *core::ParseRfc3339("2026-01-01T00:00:00Z");
};

// Commands whose outside is the test's.
inline Commands TestCommands(const std::string& socket_path) {
  Commands commands;
  commands.serve = [](const ServeFlags&) { return 0; };
  commands.relay = [](const RelayFlags&) { return 0; };
  commands.configtest = [](const ConfigtestFlags&) { return 0; };
  commands.restore = [](const RestoreFlags& flags) -> core::Result<std::string> {
    return "restored " + flags.file;
  };
  commands.socket_path = [socket_path](const ClientOptions&) -> core::Result<std::string> {
    return socket_path;
  };
  commands.build = {.version = "1.2.3",
                    .commit = "abcdef",
                    .build_time = "2026-01-01T00:00:00Z",
                    .compiler = "g++ 12.2",
                    .dirty = false};
  return commands;
}

inline Outcome RunWith(const Commands& commands, const std::vector<std::string>& arguments,
                       const RunOptions& options = {}) {
  std::istringstream in(options.input);
  std::ostringstream out;
  std::ostringstream err;
  Terminal terminal;
  terminal.in = &in;
  terminal.out = &out;
  terminal.err = &err;
  terminal.out_is_tty = options.tty;
  terminal.now = [now = options.now] { return now; };
  terminal.dial_timeout = core::Millis(1);
  Outcome outcome;
  outcome.code = Run(arguments, commands, terminal);
  outcome.out = out.str();
  outcome.err = err.str();
  return outcome;
}

// Splits at blanks; "''" is an empty argument.
inline std::vector<std::string> Words(const std::string& line) {
  std::vector<std::string> words;
  std::istringstream in(line);
  for (std::string word; in >> word;) words.push_back(word == "''" ? "" : word);
  return words;
}

// A server that answers what the test says and keeps what it was asked.
class FakeServer {
 public:
  FakeServer()
      : server_([this](control::AdminRequest request, control::AdminRespond respond) {
          const std::lock_guard lock(mutex_);
          std::string line = request.method + " " + request.path;
          if (!request.query.empty()) line += "?" + request.query;
          const auto answer = answers_.find(line);
          asked_.push_back(line + (request.body.empty() ? "" : " " + request.body));
          control::AdminResponse response;
          if (answer == answers_.end()) {
            response.status = 404;
            response.content_type = "application/problem+json";
            response.body = R"({"title":"Not Found","status":404,"detail":"the test has no )" +
                            std::string("answer\"}");
          } else {
            response.status = answer->second.first;
            response.body = answer->second.second;
            if (response.status >= 400) response.content_type = "application/problem+json";
          }
          respond(std::move(response));
        }) {}

  void Answer(const std::string& request, std::string body, int status = 200) {
    const std::lock_guard lock(mutex_);
    answers_[request] = {status, std::move(body)};
  }
  // Since the last call.
  std::vector<std::string> TakeAsked() {
    const std::lock_guard lock(mutex_);
    return std::exchange(asked_, {});
  }
  Outcome Run(const std::string& line, const RunOptions& options = {}) {
    return RunWith(TestCommands(server_.path()), Words(line), options);
  }
  [[nodiscard]] std::string path() const { return server_.path(); }
  [[nodiscard]] const tests::TempFolder& folder() const { return server_.folder(); }

 private:
  std::mutex mutex_;
  std::map<std::string, std::pair<int, std::string>> answers_;
  std::vector<std::string> asked_;
  serverd::testing::LocalServer server_;
};

}  // namespace ringscale::ctl::testing
