#include <CLI/CLI.hpp>

#include <memory>
#include <string>

#include "core/net/address.h"
#include "tools/ctl/nodes.h"

namespace ringscale::ctl {
namespace {

using core::ErrorCode;
using core::Fail;
using core::Result;

// A node by what people have at hand: ID, name, hostname, address.
Result<std::string> FindNode(Session& session, const std::string& what) {
  if (IsDigits(what)) return what;
  auto nodes = ListNodes(session, "");
  if (!nodes) return core::Forward(nodes);
  std::string found;
  const auto address = core::IpAddress::Parse(what);
  for (const Value& node : nodes->items()) {
    bool match = node["givenName"].text() == what;
    for (const std::string& ip : node["ipAddresses"].strings()) {
      match = match || (address && core::IpAddress::Parse(ip) == address);
    }
    if (match) return node["id"].text();
    if (node["name"].text() == what) {
      if (!found.empty()) {
        return Fail(ErrorCode::kConflict,
                    "several nodes have the hostname \"" + Printable(what) + "\": use the ID");
      }
      found = node["id"].text();
    }
  }
  if (!found.empty()) return found;
  return Fail(ErrorCode::kNotFound, "node not found: no node has the name or address \"" +
                                        Printable(what) + "\" (`ringscale nodes list` shows them)");
}

class Sheet {
 public:
  void Add(std::string_view name, std::string_view value) {
    if (value.empty()) return;
    constexpr std::size_t kColumn = 18;
    std::string label = std::string(name) + ":";
    label.resize(std::max(label.size() + 1, kColumn), ' ');
    bool first = true;
    while (!value.empty()) {
      const std::size_t end = value.find('\n');
      out_ += first ? label : std::string(kColumn, ' ');
      out_ += Printable(value.substr(0, end)) + "\n";
      first = false;
      value = end == std::string_view::npos ? std::string_view() : value.substr(end + 1);
    }
  }
  [[nodiscard]] std::string Take() {
    if (!out_.empty()) out_.pop_back();  // Print adds the last newline
    return std::move(out_);
  }

 private:
  std::string out_;
};

std::string Owner(const Value& node) {
  const Value& user = node["user"];
  if (!node["tags"].items().empty()) return "none (tagged)";
  std::string out = user["name"].text() + " (ID " + user["id"].text() + ")";
  if (!user["displayName"].text().empty()) out += ", " + user["displayName"].text();
  return out;
}

std::string Method(const std::string& method) {
  if (method == "REGISTER_METHOD_AUTH_KEY") return "pre-auth key";
  if (method == "REGISTER_METHOD_CLI") return "approved by command";
  if (method == "REGISTER_METHOD_OIDC") return "identity provider";
  return "unknown";
}

std::string Relay(const Value& detail, bool online) {
  const std::string& region = detail["homeRegion"].text();
  std::string out = detail["relayConnected"].truth() ? "connected" : "not connected";
  if (region.empty() || region == "0") {
    out += online ? "; the client has chosen no home region yet" : "";
  } else {
    out += "; home region " + region;
    const std::string& name = detail["homeRegionName"].text();
    if (!name.empty()) out += " (" + name + ")";
  }
  return out;
}

std::string Describe(const Value& node, const Value& detail, core::WallTime now) {
  Sheet sheet;
  sheet.Add("ID", node["id"].text());
  sheet.Add("Name", node["givenName"].text());
  sheet.Add("DNS name", detail["dnsName"].text());
  sheet.Add("Hostname", node["name"].text());
  sheet.Add("Owner", Owner(node));
  sheet.Add("Tags", Lines(node["tags"]));
  sheet.Add("Addresses", Lines(node["ipAddresses"]));

  const bool online = node["online"].truth();
  const std::string seen = TableTime(node["lastSeen"], "never");
  sheet.Add("Connected", online ? "yes" : "no, last seen " + seen);
  std::string expiry = TableTime(node["expiry"], "never");
  const auto when = core::ParseRfc3339(node["expiry"].text());
  if (when && *when <= now) expiry += " (expired: its user has to log in again on it)";
  sheet.Add("Key expires", expiry);
  sheet.Add("Created", TableTime(node["createdAt"], "-"));
  std::string method = Method(node["registerMethod"].text());
  if (!node["preAuthKey"].is_null()) method += " " + node["preAuthKey"]["id"].text();
  sheet.Add("Joined by", method);
  if (detail["ephemeral"].truth()) sheet.Add("Ephemeral", "yes: removed when it stays away");

  std::string client = detail["clientVersion"].text();
  const std::string& capability = detail["capabilityVersion"].text();
  if (client.empty()) client = "unknown version";
  if (!capability.empty() && capability != "0")
    client += " (capability version " + capability + ")";
  sheet.Add("Client", client);
  sheet.Add("System", detail["os"].text());
  sheet.Add("Relay", Relay(detail, online));
  sheet.Add("Endpoints", Lines(detail["endpoints"]));
  sheet.Add("Routes offered", Lines(node["availableRoutes"]));
  sheet.Add("Routes approved", Lines(node["approvedRoutes"]));
  sheet.Add("Routes served", Lines(node["subnetRoutes"]));

  sheet.Add("Machine key", node["machineKey"].text());
  sheet.Add("Node key", node["nodeKey"].text());
  sheet.Add("Disco key", node["discoKey"].text());
  sheet.Add("Stable ID", detail["stableId"].text());
  for (const std::string& note : detail["notes"].strings()) sheet.Add("Note", note);
  return sheet.Take();
}

}  // namespace

void AddNodeShow(Tree& tree, CLI::App& nodes) {
  struct Flags {
    std::string id, positional;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* command = tree.Command(
      nodes,
      {.name = "show",
       .aliases = {},
       .summary = "tell everything about a node",
       .details = "Names what keeps a node from working well: an old client, no connection to a "
                  "relay, an expired key. Without a node it does what `nodes list` does.",
       .examples = {{"nodes show 3", "Node 3."},
                    {"nodes show printer", "The node with this name."}}},
      [flags](Session& session) -> Result<int> {
        const std::string& what = flags->id.empty() ? flags->positional : flags->id;
        if (what.empty()) {
          auto list = ListNodes(session, "");
          if (!list) return core::Forward(list);
          PrintNodes(session, *list);
          return 0;
        }
        auto id = flags->id.empty() ? FindNode(session, what) : CheckNodeId(what);
        if (!id) return core::Forward(id);
        auto answer = session.Get("/api/v1/node/" + *id + "/detail");
        if (!answer) return core::Forward(answer);
        const Value& node = (*answer)["node"];
        const Value& detail = (*answer)["detail"];
        // One object: the node as everywhere, and what only this command tells.
        Value merged = Value::Object(node.members());
        for (const auto& [name, value] : detail.members()) merged.Set(name, value);
        session.Print(merged, Describe(node, detail, session.Now()));
        return 0;
      });
  command->add_option("-i,--identifier", flags->id, "The node's ID.")->type_name("ID");
  command->add_option("node", flags->positional, "Its ID, name, hostname or address.")
      ->type_name("NODE");
}

}  // namespace ringscale::ctl
