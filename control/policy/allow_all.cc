#include "control/policy/allow_all.h"

namespace ringscale::control {

AllowAllPolicy::AllowAllPolicy()
    : everything_{.name = 0,
                  .rules = {{.src = std::make_shared<const FilterSource>(
                                 FilterSource{.text = R"(["*"])"}),
                             .rest =
                                 R"(,"DstPorts":[{"IP":"*","Ports":{"First":0,"Last":65535}}]})"}}},
      ssh_(std::make_shared<const std::string>(R"({"rules":[]})")) {}

PeerClass AllowAllPolicy::ClassOfPeer(const Node& node) const {
  (void)node;
  return 0;
}

ViewerClass AllowAllPolicy::ClassOfViewer(const Node& node) const {
  (void)node;
  return 0;
}

std::vector<PeerClass> AllowAllPolicy::Visible(ViewerClass viewer) const {
  (void)viewer;
  return {0};
}

std::vector<FilterEntry> AllowAllPolicy::PacketFilter(const Node& node) const {
  (void)node;
  return {everything_};
}

PolicyText AllowAllPolicy::SshPolicy(const Node& node) const {
  (void)node;
  return ssh_;
}

void AllowAllPolicy::AddSelfCapabilities(const Node& node, core::json::Writer& cap_map) const {
  (void)node;
  (void)cap_map;
}

}  // namespace ringscale::control
