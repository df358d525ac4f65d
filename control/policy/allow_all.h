// The policy of a tailnet without one: everybody sees and reaches everybody.
#pragma once

#include <vector>

#include "control/policy/policy.h"

namespace ringscale::control {

class AllowAllPolicy final : public PolicyView {
 public:
  AllowAllPolicy();
  [[nodiscard]] PeerClass ClassOfPeer(const Node& node) const override;
  [[nodiscard]] ViewerClass ClassOfViewer(const Node& node) const override;
  [[nodiscard]] std::vector<PeerClass> Visible(ViewerClass viewer) const override;
  [[nodiscard]] std::vector<FilterEntry> PacketFilter(const Node& node) const override;
  [[nodiscard]] PolicyText SshPolicy(const Node& node) const override;
  void AddSelfCapabilities(const Node& node, core::json::Writer& cap_map) const override;

 private:
  FilterEntry everything_;
  PolicyText ssh_;
};

}  // namespace ringscale::control
