// Subnet routes and exit nodes: `nodes list-routes`, `nodes approve-routes`, and
// the `routes` commands of old tutorials.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <memory>
#include <set>
#include <string>

#include "core/net/address.h"
#include "tools/ctl/nodes.h"

namespace ringscale::ctl {
namespace {

using core::ErrorCode;
using core::Fail;
using core::Result;

bool HasRoutes(const Value& node) {
  return !node["availableRoutes"].items().empty() || !node["approvedRoutes"].items().empty() ||
         !node["subnetRoutes"].items().empty();
}

// Nodes with any routes; of one node only when `id` is not empty.
Result<Value> Routers(Session& session, const std::string& id) {
  if (!id.empty()) {
    if (auto checked = CheckNodeId(id); !checked) return core::Forward(checked);
  }
  auto nodes = ListNodes(session, "");
  if (!nodes) return nodes;
  Value routers = Value::Array();
  bool known = id.empty();
  for (const Value& node : nodes->items()) {
    const bool wanted = id.empty() || node["id"].text() == id;
    known = known || wanted;
    if (wanted && HasRoutes(node)) routers.Append(node);
  }
  if (!known) return Fail(ErrorCode::kNotFound, "node not found: there is no node " + id);
  return routers;
}

Result<std::vector<std::string>> CheckRoutes(const std::vector<std::string>& values) {
  std::vector<std::string> routes = SplitList(values);
  for (const std::string& route : routes) {
    if (!core::IpPrefix::Parse(route)) {
      return Fail(ErrorCode::kInvalid,
                  "parsing route: \"" + Printable(route) + "\" is not a prefix like 10.0.0.0/24");
    }
  }
  return routes;
}

void AddList(Tree& tree, CLI::App& nodes) {
  const auto id = std::make_shared<std::string>();
  CLI::App* command = tree.Command(
      nodes,
      {.name = "list-routes",
       .aliases = {"lsr", "routes"},
       .summary = "list the routes that nodes offer",
       .details = "Available: what the device offers (tailscale set --advertise-routes, "
                  "--advertise-exit-node). Approved: what it may offer. Serving: what goes "
                  "through it now; of several nodes with the same route one serves it."},
      [id](Session& session) -> Result<int> {
        auto routers = Routers(session, *id);
        if (!routers) return core::Forward(routers);
        Table table({"ID", "Hostname", "Approved", "Available", "Serving (Primary)"});
        for (const Value& node : routers->items()) {
          table.Add({node["id"].text(), node["givenName"].text(), Lines(node["approvedRoutes"]),
                     Lines(node["availableRoutes"]), Lines(node["subnetRoutes"])});
        }
        session.PrintTable(*routers, table);
        return 0;
      });
  command->add_option("-i,--identifier", *id, "Only this node.")->type_name("ID");
}

void AddApprove(Tree& tree, CLI::App& nodes) {
  struct Flags {
    std::string id;
    std::vector<std::string> routes;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Command(
      nodes,
      {.name = "approve-routes",
       .aliases = {},
       .summary = "replace the routes that a node may offer",
       .details = "The list replaces what was approved before; an empty list takes everything "
                  "back. 0.0.0.0/0 or ::/0 makes the node an exit node for both families. Routes "
                  "may be approved before the device offers them.",
       .examples = {{"nodes approve-routes -i 3 -r 10.0.0.0/24,192.168.1.0/24",
                     "Node 3 is a router to these networks."},
                    {"nodes approve-routes -i 3 -r 0.0.0.0/0", "Node 3 is an exit node."},
                    {"nodes approve-routes -i 3 -r \"\"", "Node 3 routes nothing any more."}}},
      [flags](Session& session) -> Result<int> {
        auto id = CheckNodeId(flags->id);
        if (!id) return core::Forward(id);
        auto routes = CheckRoutes(flags->routes);
        if (!routes) return core::Forward(routes);
        auto answer = session.Post("/api/v1/node/" + *id + "/approve_routes",
                                   Value::Object({{"routes", Value::Strings(*routes)}}));
        if (!answer) return core::Forward(answer);
        session.Print((*answer)["node"], "Node updated");
        return 0;
      });
  AddNodeId(tree, *command, flags->id);
  command->add_option("-r,--routes", flags->routes, "All routes, comma-separated or repeated.")
      ->type_name("ROUTES")
      ->allow_extra_args(false);
}

// --- the commands of headscale up to 0.25: one row per route, with an ID ---

struct Route {
  std::string id;
  std::string prefix;
  bool advertised = false;
  bool enabled = false;
  bool primary = false;
};

// Routes have no numbers of their own here. This one depends on node and prefix
// only, so that it still means the same when a script uses it a minute later.
std::string RouteId(const std::string& node_id, const std::string& prefix) {
  std::uint64_t hash = 14695981039346656037u;  // FNV-1a
  for (const char c : node_id + " " + prefix) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  }
  return std::to_string(hash % 1'000'000'000 + 1);
}

std::vector<Route> RoutesOf(const Value& node) {
  const auto sorted = [&node](std::string_view field) {
    const auto list = node[field].strings();
    return std::set<std::string>(list.begin(), list.end());
  };
  const auto available = sorted("availableRoutes");
  const auto approved = sorted("approvedRoutes");
  const auto serving = sorted("subnetRoutes");
  std::set<std::string> all = available;
  all.insert(approved.begin(), approved.end());
  std::vector<Route> routes;
  routes.reserve(all.size());
  for (const std::string& prefix : all) {
    routes.push_back({RouteId(node["id"].text(), prefix), prefix, available.contains(prefix),
                      approved.contains(prefix), serving.contains(prefix)});
  }
  return routes;
}

void AddOldList(Tree& tree, CLI::App& routes) {
  const auto id = std::make_shared<std::string>();
  CLI::App* command = tree.Command(
      routes, {.name = "list", .aliases = {"ls", "show"}, .summary = "list routes", .details = ""},
      [id](Session& session) -> Result<int> {
        auto routers = Routers(session, *id);
        if (!routers) return core::Forward(routers);
        Value list = Value::Array();
        Table table({"ID", "Node", "Prefix", "Advertised", "Enabled", "Primary"});
        const auto flag = [](bool value) { return value ? "true" : "false"; };
        for (const Value& node : routers->items()) {
          for (const Route& route : RoutesOf(node)) {
            table.Add({route.id, node["givenName"].text(), route.prefix, flag(route.advertised),
                       flag(route.enabled), flag(route.primary)});
            list.Append(Value::Object({{"id", Value::String(route.id)},
                                       {"node", node},
                                       {"prefix", Value::String(route.prefix)},
                                       {"advertised", Value::Bool(route.advertised)},
                                       {"enabled", Value::Bool(route.enabled)},
                                       {"isPrimary", Value::Bool(route.primary)}}));
          }
        }
        session.PrintTable(list, table);
        return 0;
      });
  command->add_option("-i,--identifier", *id, "Only this node.")->type_name("ID");
}

// `route` is an ID of `routes list`, or a prefix of the node `node_id`.
Result<int> SwitchRoute(Session& session, const std::string& route, const std::string& node_id,
                        bool enable) {
  auto routers = Routers(session, node_id);
  if (!routers) return core::Forward(routers);
  const auto prefix = core::IpPrefix::Parse(route);
  if (prefix && node_id.empty()) {
    return Fail(ErrorCode::kInvalid, "a prefix needs the node too: --identifier ID");
  }
  for (const Value& node : routers->items()) {
    for (const Route& candidate : RoutesOf(node)) {
      if (candidate.id != route && !(prefix && candidate.prefix == prefix->text())) continue;
      const auto approved = node["approvedRoutes"].strings();
      std::set<std::string> wanted(approved.begin(), approved.end());
      if (enable) {
        wanted.insert(candidate.prefix);
      } else {
        wanted.erase(candidate.prefix);
        // Approval of one exit route stands for both.
        const auto parsed = core::IpPrefix::Parse(candidate.prefix);
        if (parsed && parsed->IsDefaultRoute()) {
          wanted.erase("0.0.0.0/0");
          wanted.erase("::/0");
        }
      }
      auto answer =
          session.Post("/api/v1/node/" + node["id"].text() + "/approve_routes",
                       Value::Object({{"routes", Value::Strings({wanted.begin(), wanted.end()})}}));
      if (!answer) return core::Forward(answer);
      session.Print((*answer)["node"], enable ? "Route enabled" : "Route disabled");
      return 0;
    }
  }
  return Fail(ErrorCode::kNotFound, "there is no route " + Printable(route) +
                                        " (`ringscale nodes list-routes` shows what nodes offer)");
}

void AddOldSwitch(Tree& tree, CLI::App& routes, const std::string& name,
                  std::vector<std::string> aliases, bool enable) {
  struct Flags {
    std::string route, node;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Command(routes,
                                   {.name = name,
                                    .aliases = std::move(aliases),
                                    .summary = enable ? "approve a route" : "take a route back",
                                    .details = ""},
                                   [flags, enable](Session& session) {
                                     return SwitchRoute(session, flags->route, flags->node, enable);
                                   });
  tree.Require(*command, command
                             ->add_option("-r,--route", flags->route,
                                          "The route's ID, or its prefix together with -i.")
                             ->type_name("ROUTE"));
  command->add_option("-i,--identifier", flags->node, "The node's ID.")->type_name("ID");
}

}  // namespace

void AddRouteCommands(Tree& tree, CLI::App& nodes) {
  AddList(tree, nodes);
  AddApprove(tree, nodes);
  CLI::App* routes = tree.Group(
      tree.root(), {.name = "routes",
                    .aliases = {"route", "r"},
                    .summary = "old form of `nodes list-routes` and `nodes approve-routes`",
                    .details = "Use `ringscale nodes list-routes` and `ringscale nodes "
                               "approve-routes`.",
                    .hidden = true});
  AddOldList(tree, *routes);
  AddOldSwitch(tree, *routes, "enable", {}, true);
  AddOldSwitch(tree, *routes, "disable", {}, false);
  AddOldSwitch(tree, *routes, "delete", {"del", "rm"}, false);
}

}  // namespace ringscale::ctl
