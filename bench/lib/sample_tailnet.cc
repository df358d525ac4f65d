#include "bench/lib/sample_tailnet.h"

#include <algorithm>
#include <string>

#include "control/state/routes.h"

namespace ringscale::bench {
namespace {

using control::Node;
using control::NodeId;

// Draws a node's values, always the same for the same generator.
class Draws {
 public:
  explicit Draws(std::mt19937& random) : random_(random) {}

  std::uint32_t Below(std::uint32_t limit) { return static_cast<std::uint32_t>(random_() % limit); }
  template <class Key>
  Key RandomKey() {
    Key key;
    for (auto& byte : key.raw) byte = static_cast<std::uint8_t>(Below(256));
    return key;
  }
  core::WallTime Time() { return {(1'750'000'000LL + Below(30'000'000)) * 1'000'000'000LL}; }
  std::uint16_t Port() { return static_cast<std::uint16_t>(1024 + Below(64000)); }

 private:
  std::mt19937& random_;
};

}  // namespace

SampleTailnet::SampleTailnet(std::size_t nodes, std::size_t users) {
  for (std::uint64_t id = 1; id <= users; ++id) {
    storage::UserRow& user = users_[id];
    user.id = id;
    user.name = "user" + std::to_string(id);
  }
  nodes_.reserve(nodes);
  for (NodeId id = 1; id <= nodes; ++id) nodes_.push_back(Make(id));
}

Node& SampleTailnet::Add() {
  nodes_.push_back(Make(nodes_.size() + 1));
  return nodes_.back();
}

control::MapRequest SampleTailnet::Request(NodeId id) const {
  control::MapRequest request;
  request.version = 142;
  request.zstd = true;
  request.keep_alive = true;
  request.stream = true;
  request.node_key = FindNode(id)->row.node_key;
  return request;
}

void SampleTailnet::EachNode(const std::function<void(const Node&)>& visit) const {
  for (const Node& node : nodes_) visit(node);
}

const Node* SampleTailnet::FindNode(NodeId id) const {
  return id == 0 || id > nodes_.size() ? nullptr : &nodes_[id - 1];
}

const storage::UserRow* SampleTailnet::FindUser(control::UserId id) const {
  const auto found = users_.find(id);
  return found == users_.end() ? nullptr : &found->second;
}

std::vector<core::IpPrefix> SampleTailnet::PrimaryRoutes(NodeId id) const {
  std::vector<core::IpPrefix> out;
  for (const auto& route : control::SubnetRoutes(*FindNode(id))) {
    if (PrimaryOf(route) == id) out.push_back(route);
  }
  return out;
}

NodeId SampleTailnet::PrimaryOf(const core::IpPrefix& prefix) const {
  const auto found = primaries_.find(prefix);
  return found == primaries_.end() ? 0 : found->second;
}

void SampleTailnet::ElectPrimaries() {
  primaries_.clear();
  for (const Node& node : nodes_) {
    for (const auto& route : control::SubnetRoutes(node)) {
      primaries_.try_emplace(route, node.row.id);
    }
  }
}

Node SampleTailnet::Make(NodeId id) {
  constexpr const char* kNames[] = {"laptop", "web", "db", "build", "phone", "desktop", "nas"};
  constexpr const char* kSystems[] = {"linux", "linux", "windows", "macOS", "iOS"};
  constexpr std::uint32_t kVersions[] = {113, 131, 142};
  constexpr char kAlphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  Draws draws(random_);
  Node node;
  node.row.id = id;
  node.row.stable_id = "n";
  for (int i = 0; i < 11; ++i) node.row.stable_id += kAlphabet[draws.Below(62)];
  node.row.machine_key = draws.RandomKey<core::MachinePublic>();
  node.row.node_key = draws.RandomKey<core::NodePublic>();
  node.row.disco_key = draws.RandomKey<core::DiscoPublic>();
  node.row.user_id = 1 + draws.Below(static_cast<std::uint32_t>(users_.size()));
  node.row.hostname = std::string(kNames[draws.Below(7)]) + "-" + std::to_string(draws.Below(5000));
  node.row.given_name = node.row.hostname;
  node.row.ipv4 = core::IpAddress::V4(static_cast<std::uint32_t>(0x64400000U + id));
  node.row.ipv6 = *core::IpAddress::Parse("fd7a:115c:a1e0::");
  node.row.ipv6.bytes[14] = static_cast<std::uint8_t>(id >> 8);
  node.row.ipv6.bytes[15] = static_cast<std::uint8_t>(id);
  node.row.created = draws.Time();
  node.row.last_seen = draws.Time();
  node.row.expiry = draws.Time();
  node.row.capability_version = kVersions[draws.Below(3)];
  node.home_derp = 900;
  node.online = draws.Below(5) != 0;
  node.peer_hostinfo = std::string(R"({"OS":")") + kSystems[draws.Below(5)] + R"(","Hostname":")" +
                       node.row.hostname + R"(","Services":[{"Proto":"peerapi4","Port":)" +
                       std::to_string(draws.Port()) + R"(},{"Proto":"peerapi6","Port":)" +
                       std::to_string(draws.Port()) + "}]}";
  node.endpoints.push_back(
      {{core::IpAddress::V4(0x05000000U + draws.Below(0x70000000U)), draws.Port()}, 2});
  node.endpoints.push_back({{core::IpAddress::V4(0xC0A80000U + draws.Below(0x0400U)), 41641}, 1});
  return node;
}

}  // namespace ringscale::bench
