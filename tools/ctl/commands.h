// The command line of ringscale. The composition root (tools/ringscale.cc) passes
// what lives outside of this folder: how to serve, to check a configuration, to
// restore, and where the socket of the running server is.
#pragma once

#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "tools/ctl/derper_flags.h"

namespace ringscale::ctl {

// Flags that all commands share.
struct ClientOptions {
  std::string config;    // --config; empty = the search order of the configuration
  std::string data_dir;  // --data-dir
  std::string socket;    // --socket; wins over the two above
};

struct ServeFlags {
  std::string config;
  std::vector<std::string> listen;  // empty = as configured; same for the rest
  std::optional<std::string> server_url;
  std::optional<std::string> data_dir;
  std::optional<std::string> log_level;
  std::optional<std::string> socket;
  bool take_over = false;  // from the server that runs on the same data
};

struct RelayFlags {
  std::string config;  // a configuration, or derper's key file
  std::optional<std::string> data_dir;
  std::optional<std::string> socket;
  std::optional<std::string> log_level;
  bool take_over = false;
  std::vector<GivenFlag> derper;  // flags of derper, in the order of their names' table
};

struct ConfigtestFlags {
  std::string config;
  std::optional<std::string> data_dir;
};

struct RestoreFlags {
  std::string file;  // "-" = standard input
  std::string config;
  std::optional<std::string> data_dir;
  bool force = false;  // replace the data that is there
};

struct BuildInfo {
  std::string version;
  std::string commit;
  std::string build_time;
  std::string compiler;  // "g++ 12.2"
  bool dirty = false;    // built from a tree with changes
};

struct Commands {
  // These print for themselves and return the exit code.
  std::function<int(const ServeFlags&)> serve;
  std::function<int(const RelayFlags&)> relay;
  std::function<int(const ConfigtestFlags&)> configtest;
  // Puts a backup in place; refuses while a server runs on the same data. The
  // result is the text for the operator (one or more lines).
  std::function<core::Result<std::string>(const RestoreFlags&)> restore;
  // The path of the running server's socket. Reads the configuration, so errors
  // are about that.
  std::function<core::Result<std::string>(const ClientOptions&)> socket_path;
  BuildInfo build;
};

// What a command talks to besides the server; tests pass their own.
struct Terminal {
  std::istream* in = nullptr;
  std::ostream* out = nullptr;
  std::ostream* err = nullptr;
  bool out_is_tty = false;  // colours
  int out_fd = -1;          // where `backup -` writes
  std::function<core::WallTime()> now = core::WallNow;
  // How long to go on dialling a server that does not answer yet.
  core::Duration dial_timeout = core::Seconds(5);
};

// Runs one command line (without the program's name); returns the exit code: 0
// for success and for a declined prompt, 1 for everything else.
int Run(const std::vector<std::string>& arguments, const Commands& commands, Terminal& terminal);

// The same on the process's own arguments, streams and clock.
int Main(int argc, char** argv, const Commands& commands);

}  // namespace ringscale::ctl
