// ringscale: the program. The command line is tools/ctl, the server tools/serverd;
// this file connects them.
#include <signal.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "core/json/writer.h"
#include "core/net/listener.h"
#include "core/obs/log.h"
#include "storage/backup.h"
#include "tools/ctl/commands.h"
#include "tools/relayd/relay_node.h"
#include "tools/relayd/settings.h"
#include "tools/serverd/check_config.h"
#include "tools/serverd/config.h"
#include "tools/serverd/server.h"
#include "tools/serverd/typed_command.h"

namespace ringscale {
namespace {

ctl::BuildInfo Build() {
  return {.version = RINGSCALE_VERSION,
          .commit = RINGSCALE_COMMIT,
          .build_time = RINGSCALE_BUILD_TIME,
          .compiler =
              std::string("g++ ") + std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__),
          .dirty = RINGSCALE_DIRTY != 0};
}

std::string VersionJson(const ctl::BuildInfo& build) {
  std::string text;
  core::json::Writer json(text);
  json.BeginObject()
      .Field("version", build.version)
      .Field("commit", build.commit)
      .Field("buildTime", build.build_time)
      .Field("dirty", build.dirty)
      .EndObject();
  return text;
}

serverd::ConfigOverrides OverridesOf(const ctl::ServeFlags& flags) {
  serverd::ConfigOverrides overrides;
  if (!flags.config.empty()) overrides.config_path = flags.config;
  overrides.listen = flags.listen;
  overrides.server_url = flags.server_url;
  overrides.data_dir = flags.data_dir;
  overrides.log_level = flags.log_level;
  overrides.socket = flags.socket;
  return overrides;
}

// Other commands, on this machine, for the server that these flags start.
std::string CommandsFor(const ctl::ServeFlags& flags) {
  std::vector<std::string> same;
  const auto add = [&](const char* flag, const std::string& value) {
    // Where the shell is later, a relative path means something else.
    std::error_code error;
    const auto absolute = std::filesystem::absolute(value, error);
    if (!error) same.insert(same.end(), {flag, absolute.string()});
  };
  if (!flags.config.empty()) add("--config", flags.config);
  if (flags.data_dir) add("--data-dir", *flags.data_dir);
  if (flags.socket) add("--socket", *flags.socket);
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  const char* const path = std::getenv("PATH");
  return serverd::TypedCommand(error ? "ringscale" : program.string(), path != nullptr ? path : "",
                               same);
}

int Complain(const core::Error& error) {
  core::FlushLog();
  std::fprintf(stderr, "Error: %s\n", error.message.c_str());
  return 1;
}

// The same once the log is set up: whoever reads the log finds it there.
int FailedStart(std::string_view component, const core::Error& error) {
  core::LogError(component, "cannot start: " + error.message);
  core::FlushLog();
  return 1;
}

// The signals that the server waits for must be blocked before the first thread
// of the process exists (the log's writer is one): threads inherit the mask.
void BlockServerSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

int Serve(const ctl::ServeFlags& flags) {
  BlockServerSignals();
  auto activated = core::net::TakeActivatedSockets();
  if (!activated) return Complain(activated.error());
  const auto overrides = OverridesOf(flags);
  auto config = serverd::LoadConfig(overrides);
  if (!config) return Complain(config.error());
  core::ConfigureLog(config->log.level, config->log.format);
  const bool people_read = config->log.format == core::LogFormat::kText;
  const auto build = Build();
  auto server = serverd::Server::Start(
      std::move(*config), {.version = build.version, .version_json = VersionJson(build)},
      [overrides] { return serverd::LoadConfig(overrides); },
      {.activated = std::move(*activated), .take_over = flags.take_over});
  if (!server) return FailedStart("serve", server.error());
  if (people_read) {
    core::FlushLog();
    std::printf(
        "\nringscale %s is ready. On each machine that shall join, run:\n\n    %s\n\n"
        "It prints an address; the page there shows the command that lets the machine in, as\n"
        "one of a user. Make that user once, on this machine:\n\n    %s users create NAME\n\n",
        build.version.c_str(), (*server)->JoinLine().c_str(), CommandsFor(flags).c_str());
    std::fflush(stdout);
  }
  (*server)->RunUntilSignal();
  return 0;
}

int Relay(const ctl::RelayFlags& flags) {
  BlockServerSignals();
  auto activated = core::net::TakeActivatedSockets();
  if (!activated) return Complain(activated.error());
  auto config = relayd::LoadRelayConfig(flags);
  if (!config) return Complain(config.error());
  core::ConfigureLog(config->log.level, config->log.format);
  const bool people_read = config->log.format == core::LogFormat::kText;
  auto node =
      relayd::RelayNode::Start(std::move(*config), RINGSCALE_VERSION,
                               {.activated = std::move(*activated), .take_over = flags.take_over});
  if (!node) return FailedStart("relay", node.error());
  if (people_read) {
    core::FlushLog();
    std::printf("\nringscale relay %s is ready. As a node of a DERP map:\n\n    %s\n\n",
                RINGSCALE_VERSION, (*node)->MapNode().c_str());
    std::fflush(stdout);
  }
  (*node)->RunUntilSignal();
  return 0;
}

// Started under the name derper.
int Derper(const std::vector<std::string>& arguments) {
  auto command = relayd::ReadDerperCommand(arguments);
  if (!command) return Complain(command.error());
  if (command->version) {
    std::printf("%s (ringscale)\n", RINGSCALE_VERSION);
    return 0;
  }
  return Relay(command->flags);
}

int Configtest(const ctl::ConfigtestFlags& flags) {
  serverd::ConfigOverrides overrides;
  if (!flags.config.empty()) overrides.config_path = flags.config;
  overrides.data_dir = flags.data_dir;
  auto config = serverd::LoadConfig(overrides);
  if (!config)
    return Complain({config.error().code, "configuration error: " + config.error().message});
  for (const auto& warning : config->Warnings()) {
    std::fprintf(stderr, "Warning: %s\n", warning.c_str());
  }
  auto checked = serverd::CheckConfig(*config);
  if (!checked) {
    return Complain({checked.error().code, "configuration error: " + checked.error().message});
  }
  return 0;
}

core::Result<std::string> Restore(const ctl::RestoreFlags& flags) {
  serverd::ConfigOverrides overrides;
  if (!flags.config.empty()) overrides.config_path = flags.config;
  overrides.data_dir = flags.data_dir;
  auto config = serverd::LoadConfig(overrides);
  if (!config) return core::Forward(config);
  auto dir = storage::DataDir::Lock(config->data_dir);
  if (!dir) return core::Forward(dir);
  const bool piped = flags.file == "-";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      piped ? stdin : std::fopen(flags.file.c_str(), "rbe"),
      piped ? [](std::FILE*) { return 0; } : &std::fclose);
  if (!file) return core::FailErrno("open " + flags.file, errno);
  auto restore = storage::Restore::Begin(*dir, {.replace_existing = flags.force});
  if (!restore) return core::Forward(restore);
  std::string piece(1 << 16, '\0');
  std::size_t n = 0;
  while ((n = std::fread(piece.data(), 1, piece.size(), file.get())) > 0) {
    if (auto fed = restore->Feed(std::string_view(piece).substr(0, n)); !fed) {
      return core::Forward(fed);
    }
  }
  if (std::ferror(file.get()) != 0) return core::FailErrno("read " + flags.file, errno);
  auto report = restore->Finish();
  if (!report) return core::Forward(report);
  std::string text = "Restored " + std::to_string(report->records) + " records and " +
                     std::to_string(report->data_files.size()) + " files into " + config->data_dir +
                     " (backup of version " + report->program_version + ")";
  for (const auto& name : report->config_files) {
    text += "\nThe configuration of that server is in " + config->data_dir + "/" + name +
            "; it is not in use";
  }
  return text;
}

core::Result<std::string> SocketPath(const ctl::ClientOptions& options) {
  serverd::ConfigOverrides overrides;
  if (!options.config.empty()) overrides.config_path = options.config;
  if (!options.data_dir.empty()) overrides.data_dir = options.data_dir;
  if (!options.socket.empty()) overrides.socket = options.socket;
  auto config = serverd::LoadConfig(overrides);
  if (!config) return core::Forward(config);
  return config->SocketPath();
}

}  // namespace
}  // namespace ringscale

int main(int argc, char** argv) {
  const std::string_view name = argc > 0 ? argv[0] : "";
  if (name.substr(name.rfind('/') + 1) == "derper") {
    return ringscale::Derper(std::vector<std::string>(argv + 1, argv + argc));
  }
  ringscale::ctl::Commands commands;
  commands.relay = &ringscale::Relay;
  commands.serve = &ringscale::Serve;
  commands.configtest = &ringscale::Configtest;
  commands.restore = &ringscale::Restore;
  commands.socket_path = &ringscale::SocketPath;
  commands.build = ringscale::Build();
  return ringscale::ctl::Main(argc, argv, commands);
}
