// ringscale relay: a dedicated DERP node, and what one says about itself.
#include <CLI/CLI.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tools/ctl/derper_flags.h"
#include "tools/ctl/table.h"
#include "tools/ctl/tree.h"

namespace ringscale::ctl {
namespace {

using core::Result;

std::optional<std::string> Given(const std::string& value) {
  if (value.empty()) return std::nullopt;
  return value;
}

// "1.2 GB": for people.
std::string Bytes(double bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  std::size_t unit = 0;
  while (bytes >= 1000 && unit + 1 < std::size(kUnits)) {
    bytes /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, kUnits[unit]);
  return text;
}

double NumberOf(const Value& value) {
  return std::strtod(value.text().c_str(), nullptr);
}

std::string Count(const Value& value) {
  return std::to_string(static_cast<std::int64_t>(NumberOf(value)));
}

std::string StatusText(const Value& status) {
  const Value& relay = status["relay"];
  const Value& rates = status["rates"];
  std::string out = "key:          " + Printable(status["key"].text()) +
                    "\nconnections:  " + Count(relay["connections"]) + " (" +
                    Count(relay["homeConnections"]) + " at home here, " +
                    Count(relay["duplicateConnections"]) + " duplicates, " +
                    Count(relay["watchers"]) + " watchers)";
  out += "\nreceived:     " + Bytes(NumberOf(rates["receivedBytes"])) + "/s, " +
         Count(rates["receivedPackets"]) + " packets/s";
  out += "\nsent:         " + Bytes(NumberOf(rates["sentBytes"])) + "/s, " +
         Count(rates["sentPackets"]) + " packets/s";
  out += "\nforwarded:    " + Count(rates["forwardedOut"]) + " packets/s out, " +
         Count(rates["forwardedIn"]) + " in";
  out += "\ndropped:      ";
  std::string drops;
  for (const Value& drop : status["drops"].items()) {
    drops += (drops.empty() ? "" : ", ") + Printable(drop["reason"].text()) + " " +
             Count(drop["packets"]);
  }
  out += drops.empty() ? "nothing" : drops;
  if (!status["mesh"].items().empty()) {
    Table mesh({"Mesh peer", "State", "Clients", "Forwarded"});
    for (const Value& peer : status["mesh"].items()) {
      mesh.Add({Printable(peer["host"].text()), Printable(peer["state"].text()),
                Count(peer["clients"]), Bytes(NumberOf(peer["sentBytes"]))});
    }
    out += "\n\n" + mesh.Render(false);
  }
  if (!status["talkers"].items().empty()) {
    Table talkers({"Top talker", "Address", "Rate", "Received", "Sent"});
    for (const Value& talker : status["talkers"].items()) {
      talkers.Add({Printable(talker["key"].text()), Printable(talker["address"].text()),
                   Bytes(NumberOf(talker["bytesPerSecond"])) + "/s",
                   Bytes(NumberOf(talker["receivedBytes"])), Bytes(NumberOf(talker["sentBytes"]))});
    }
    out += "\n\n" + talkers.Render(false);
  }
  return out;
}

CLI::App* AddRelay(Tree& tree) {
  struct Flags {
    std::list<std::pair<const DerperFlag*, std::string>> derper;  // addresses stay
    std::string tailscaled_socket, log_level;
    bool take_over = false;
  };
  const auto flags = std::make_shared<Flags>();
  const Globals& globals = tree.globals();
  // The options say themselves whether they were given.
  const auto options = std::make_shared<std::vector<const CLI::Option*>>();
  CLI::App* command = tree.Command(
      tree.root(),
      {.name = "relay",
       .aliases = {},
       .summary = "run a dedicated DERP relay",
       .details =
           "The relay of ringscale serve without a control plane: for regions of a DERP map of "
           "their own, in the place of derper. It takes derper's flags and its key file: -c may "
           "name derper's key file instead of a configuration. Flags win over the configuration "
           "(section relay). Started under the name derper, by a link of that name, it reads "
           "its arguments exactly as derper does.\n\n"
           "SIGTERM ends it in order: clients are closed one by one over relay.drain. SIGHUP "
           "makes it read its files again. --take-over replaces a running relay without a "
           "refused connection. docs/relay.md tells how to switch from derper.",
       .examples = {{"relay --hostname derp.example.com --certmode manual --certdir DIR",
                     "Serve with a certificate from files."},
                    {"relay -c derper.key --verify-client-url https://net.example/verify",
                     "Go on with derper's key; admit the nodes of a tailnet."}}},
      [flags, options, &globals](Session& session) -> Result<int> {
        RelayFlags relay;
        relay.config = globals.client.config;
        relay.data_dir = Given(globals.client.data_dir);
        relay.socket = Given(globals.client.socket);
        relay.log_level = Given(flags->log_level);
        relay.take_over = flags->take_over;
        auto option = options->begin();
        for (const auto& [flag, value] : flags->derper) {
          if ((*option++)->count() != 0) relay.derper.push_back({std::string(flag->name), value});
        }
        if (!flags->tailscaled_socket.empty()) {
          relay.derper.push_back({"socket", flags->tailscaled_socket});
        }
        return session.commands().relay(relay);
      });
  for (const DerperFlag& flag : DerperFlags()) {
    auto& slot = flags->derper.emplace_back(&flag, flag.type.empty() ? "true" : "");
    const std::string name = (flag.name.size() == 1 ? "-" : "--") + std::string(flag.name);
    CLI::Option* option = command->add_option(name, slot.second, std::string(flag.doc));
    if (flag.type.empty()) {
      option->expected(0, 1)->default_str("true")->type_name("BOOL");
    } else {
      option->type_name(std::string(flag.type));
    }
    if (!flag.missing.empty()) option->group("");
    options->push_back(option);
  }
  command
      ->add_option("--tailscaled-socket", flags->tailscaled_socket,
                   "The socket of the tailscaled that --verify-clients asks (derper's --socket).")
      ->type_name("PATH");
  command->add_option("--log-level", flags->log_level, "trace, debug, info, warn or error.")
      ->type_name("LEVEL");
  command->add_flag("--take-over", flags->take_over,
                    "Replace the relay that runs on the same data directory, if there is one.");
  return command;
}

void AddStatus(Tree& tree, CLI::App& relay) {
  tree.Command(relay,
               {.name = "status",
                .aliases = {},
                .summary = "what the running relay does",
                .details = "Connections, rates over one second, drops by reason, the clients that "
                           "send and receive most, and the other relays of the region. Asks the "
                           "relay over its local socket.",
                .examples = {}},
               [](Session& session) -> Result<int> {
                 auto status = session.Get("/api/v1/relay/status");
                 if (!status) return core::Forward(status);
                 session.Print(*status, StatusText(*status));
                 return 0;
               });
}

}  // namespace

void AddRelayCommands(Tree& tree) {
  AddStatus(tree, *AddRelay(tree));
}

}  // namespace ringscale::ctl
