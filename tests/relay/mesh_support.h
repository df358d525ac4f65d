// What the tests of a shard with links to other relays share.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>

#include "tests/relay/shard_support.h"

namespace ringscale::relay {

inline Frame Keyed(FrameType type, std::initializer_list<core::NodePublic> keys, core::Bytes rest) {
  Frame payload;
  for (const auto& key : keys) payload.insert(payload.end(), key.raw.begin(), key.raw.end());
  payload.insert(payload.end(), rest.begin(), rest.end());
  return sim::MakeFrame(type, payload);
}

inline Frame Present(const core::NodePublic& key) {
  return Keyed(FrameType::kPeerPresent, {key}, Frame(19, 1));
}

inline Frame Forward(const core::NodePublic& from, const core::NodePublic& to, core::Bytes packet) {
  return Keyed(FrameType::kForwardPacket, {from, to}, packet);
}

class RelayMeshTest : public RelayShardTest {
 protected:
  void Start(WorldOptions options = {}) {
    server_key_.raw.fill(9);
    options.server_key = server_key_;
    RelayShardTest::Start(options);
  }
  // The other relay's end of a link of ours.
  SimClient& Link(std::uint8_t number) { return Connect({.mesh_link = number}); }
  void Say(SimClient& peer, const Frame& frame) {
    world_->Send(peer, frame);
    Settle();
  }
  void Settle() { world_->Run(core::Millis(3)); }
  core::NodePublic Stranger() { return sim::RandomKey(world_->rng()); }

  core::NodePublic server_key_;
};

// For INSTANTIATE_TEST_SUITE_P: news of links pass through several shards.
inline auto MeshVariants() {
  return testing::Values(Variant{false, 1}, Variant{true, 1}, Variant{false, 3}, Variant{true, 3});
}

}  // namespace ringscale::relay
