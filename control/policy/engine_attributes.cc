// Node capabilities that the policy hands out (nodeAttrs).
#include <algorithm>

#include "control/policy/engine.h"
#include "control/policy/text_forms.h"

namespace ringscale::control::policy {

std::map<std::string, std::string> Engine::Capabilities(NodeId id) const {
  std::map<std::string, std::string> out;
  const Document& document = program_->document();
  const ClassId node_class = ClassOf(id);
  for (const auto& rule : program_->attributes()) {
    if (!sides_[rule.target].address.Has(node_class)) continue;
    for (const auto& name : rule.attribute->attr) out.try_emplace(name, "null");
    for (const auto& app : rule.attribute->app) out.insert_or_assign(app.name, app.values);
  }
  if (document.randomize_client_port) out.try_emplace("randomize-client-port", "null");
  if (document.disable_ipv4) out.try_emplace("disable-ipv4", "null");
  if (document.one_cgnat_route && Lower(nodes_.at(id).os) == "macos") {
    out.try_emplace(*document.one_cgnat_route ? "one-cgnat?v=true" : "one-cgnat?v=false", "null");
  }
  if (settings_.https_certificates) out.try_emplace("https", "null");
  if (out.contains("funnel")) {
    out.try_emplace("https://tailscale.com/cap/funnel-ports?ports=443,8443,10000", "null");
    if (!settings_.https_certificates) {
      out.try_emplace("https://tailscale.com/cap/warn-funnel-no-https", "null");
    }
  }
  return out;
}

bool Engine::Ipv6Only(ClassId id) const {
  if (program_->document().disable_ipv4) return true;
  return std::ranges::any_of(program_->attributes(), [&](const AttributeRule& rule) {
    return rule.disables_ipv4 && sides_[rule.target].address.Has(id);
  });
}

std::vector<core::IpAddress> Engine::AddressesShown(NodeId viewer, NodeId peer) const {
  const PolicyNode& node = nodes_.at(peer);
  // Who has no IPv4 neither shows its own nor reaches that of others.
  const bool v4 = !node.v6.valid() || (!Ipv6Only(ClassOf(peer)) && !Ipv6Only(ClassOf(viewer)));
  std::vector<core::IpAddress> out;
  if (node.v4.valid() && v4) out.push_back(node.v4);
  if (node.v6.valid()) out.push_back(node.v6);
  return out;
}

}  // namespace ringscale::control::policy
