#include <sys/utsname.h>
#include <CLI/CLI.hpp>

#include <memory>
#include <string>

#include "tools/ctl/tree.h"

namespace ringscale::ctl {
namespace {

using core::Result;

std::optional<std::string> Given(const std::string& value) {
  if (value.empty()) return std::nullopt;
  return value;
}

void AddServe(Tree& tree) {
  struct Flags {
    std::vector<std::string> listen;
    std::string server_url, log_level;
    bool take_over = false;
  };
  const auto flags = std::make_shared<Flags>();
  const Globals& globals = tree.globals();
  CLI::App* command = tree.Command(
      tree.root(),
      {.name = "serve",
       .aliases = {},
       .summary = "run the server",
       .details = "Works without any configuration: keys and a certificate are made in the data "
                  "directory at the first start. Flags win over $RINGSCALE_... variables, those "
                  "over the configuration file.\n\nThe data directory is /var/lib/ringscale for "
                  "root, else $XDG_DATA_HOME/ringscale. SIGTERM stops the server in order, SIGHUP "
                  "makes it read its files again; keys whose change needs a restart are named in "
                  "the log.\n\n"
                  "An upgrade that refuses no connection: --take-over gets the sockets of the "
                  "server that runs on the same data directory and makes it stop; what connects "
                  "meanwhile waits. Started by systemd's socket activation, the server uses those "
                  "sockets instead of the configured addresses, and a restart does the same.",
       .examples = {{"serve", "Run with the defaults."},
                    {"serve --server-url https://net.example.com --listen :443",
                     "Run under a name."},
                    {"serve --take-over", "Replace the running server, after an upgrade."}}},
      [flags, &globals](Session& session) -> Result<int> {
        ServeFlags serve;
        serve.config = globals.client.config;
        serve.listen = SplitList(flags->listen);
        serve.server_url = Given(flags->server_url);
        serve.data_dir = Given(globals.client.data_dir);
        serve.log_level = Given(flags->log_level);
        serve.socket = Given(globals.client.socket);
        serve.take_over = flags->take_over;
        return session.commands().serve(serve);
      });
  command
      ->add_option("--listen", flags->listen,
                   "Address and port to listen on (\":8080\", \"192.0.2.1:443\"), comma-separated "
                   "or repeated.")
      ->type_name("ADDRESSES")
      ->allow_extra_args(false);
  command->add_option("--server-url", flags->server_url, "The URL by which clients reach it.")
      ->type_name("URL");
  command->add_option("--log-level", flags->log_level, "trace, debug, info, warn or error.")
      ->type_name("LEVEL");
  command->add_flag("--take-over", flags->take_over,
                    "Replace the server that runs on the same data directory, if there is one.");
}

void AddConfigtest(Tree& tree) {
  const Globals& globals = tree.globals();
  tree.Command(tree.root(),
               {.name = "configtest",
                .aliases = {},
                .summary = "check the configuration",
                .details = "Prints nothing when all is well; else each mistake with file, line "
                           "and key, and exits with 1. Starts nothing."},
               [&globals](Session& session) -> Result<int> {
                 return session.commands().configtest(
                     {globals.client.config, Given(globals.client.data_dir)});
               });
}

void AddHealth(Tree& tree) {
  tree.Command(tree.root(),
               {.name = "health",
                .aliases = {},
                .summary = "ask the server whether it is well",
                .details = "Exits with 1 when the server answers that it is not, and names the "
                           "reasons."},
               [](Session& session) -> Result<int> {
                 auto answer = session.Get("/api/v1/health");
                 if (!answer) return core::Forward(answer);
                 const Value& status = (*answer)["status"];
                 const bool healthy =
                     (*answer)["databaseConnectivity"].truth() && status.text() != "fail";
                 std::string text = healthy ? "healthy" : "not healthy";
                 for (const std::string& problem : (*answer)["problems"].strings()) {
                   text += "\n- " + Printable(problem);
                 }
                 session.Print(*answer, text);
                 return healthy ? 0 : 1;
               });
}

void AddVersion(Tree& tree) {
  tree.Command(tree.root(),
               {.name = "version",
                .aliases = {},
                .summary = "print the version of this program",
                .details = ""},
               [](Session& session) -> Result<int> {
                 const BuildInfo& build = session.commands().build;
                 utsname system{};
                 ::uname(&system);
                 const std::string arch = system.machine;
                 Value machine = Value::Object(
                     {{"version", Value::String(build.version)},
                      {"commit", Value::String(build.commit)},
                      {"buildTime", Value::String(build.build_time)},
                      {"compiler", Value::Object({{"version", Value::String(build.compiler)},
                                                  {"os", Value::String("linux")},
                                                  {"arch", Value::String(arch)}})},
                      {"dirty", Value::Bool(build.dirty)}});
                 std::string text = "ringscale version " + build.version;
                 text += "\ncommit: " + build.commit + (build.dirty ? " (with changes)" : "");
                 text += "\nbuild time: " + build.build_time;
                 text += "\nbuilt with: " + build.compiler + " linux/" + arch;
                 session.Print(machine, text);
                 return 0;
               });
}

}  // namespace

void AddServerCommands(Tree& tree) {
  AddServe(tree);
  AddConfigtest(tree);
  AddHealth(tree);
  AddVersion(tree);
}

}  // namespace ringscale::ctl
