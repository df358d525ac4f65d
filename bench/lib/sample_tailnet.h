// Nodes as a mixed tailnet has them: random keys, ports and times, few users.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <vector>

#include "control/map/map_source.h"
#include "control/wire/map_request.h"

namespace ringscale::bench {

// Later than all that happened to the nodes.
inline constexpr core::WallTime kSampleNow{1'800'000'000'000'000'000};

class SampleTailnet final : public control::MapSource {
 public:
  explicit SampleTailnet(std::size_t nodes, std::size_t users = 50);

  control::Node& At(control::NodeId id) { return nodes_[id - 1]; }
  // One more; references to nodes are void.
  control::Node& Add();
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }
  [[nodiscard]] const std::map<control::UserId, storage::UserRow>& users() const { return users_; }
  [[nodiscard]] control::MapRequest Request(control::NodeId id) const;
  std::uint32_t Draw(std::uint32_t below) { return static_cast<std::uint32_t>(random_() % below); }

  void EachNode(const std::function<void(const control::Node&)>& visit) const override;
  [[nodiscard]] const control::Node* FindNode(control::NodeId id) const override;
  [[nodiscard]] const storage::UserRow* FindUser(control::UserId id) const override;
  // The first node that announces a subnet has it.
  [[nodiscard]] std::vector<core::IpPrefix> PrimaryRoutes(control::NodeId id) const override;
  [[nodiscard]] control::NodeId PrimaryOf(const core::IpPrefix& prefix) const;
  // After announced routes changed.
  void ElectPrimaries();

 private:
  control::Node Make(control::NodeId id);

  std::mt19937 random_{7};
  std::map<control::UserId, storage::UserRow> users_;
  std::vector<control::Node> nodes_;
  std::map<core::IpPrefix, control::NodeId> primaries_;
};

}  // namespace ringscale::bench
