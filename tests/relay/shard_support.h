// What the tests of a relay shard share: frames as clients write and read them, and
// shards on the simulated ring without faults.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "relay/wire/frame.h"
#include "tests/sim/relay_world.h"

namespace ringscale::relay {

using sim::ConnectOptions;
using sim::Frame;
using sim::RelayWorld;
using sim::SimClient;
using sim::WorldOptions;

inline Frame Text(std::string_view text) {
  return {text.begin(), text.end()};
}

inline Frame Disco() {
  Frame packet(kMinDiscoBytes + 10, 7);
  std::copy_n(kDiscoMagic, sizeof(kDiscoMagic), packet.begin());
  return packet;
}

inline Frame RecvPacket(const core::NodePublic& from, core::Bytes packet) {
  Frame payload(from.raw.begin(), from.raw.end());
  payload.insert(payload.end(), packet.begin(), packet.end());
  return sim::MakeFrame(FrameType::kRecvPacket, payload);
}

inline Frame PeerGone(const core::NodePublic& key, PeerGoneReason reason) {
  Frame payload(key.raw.begin(), key.raw.end());
  payload.push_back(static_cast<std::uint8_t>(reason));
  return sim::MakeFrame(FrameType::kPeerGone, payload);
}

inline FrameType TypeOf(const Frame& frame) {
  return static_cast<FrameType>(frame.at(0));
}

inline core::NodePublic KeyIn(const Frame& frame) {
  core::NodePublic key;
  std::copy_n(frame.begin() + kHeaderBytes, 32, key.raw.begin());
  return key;
}

// What is drawn from this runs plain and with TLS records, on one shard and on two.
struct Variant {
  bool tls;
  std::uint16_t shards;
};

class RelayShardTest : public testing::TestWithParam<Variant> {
 protected:
  void Start(WorldOptions options = {}) {
    options.shards = GetParam().shards;
    world_ = std::make_unique<RelayWorld>(options);
  }
  SimClient& Connect(ConnectOptions options = {}) {
    options.tls = GetParam().tls;
    SimClient& client = world_->Connect(options);
    world_->Run(core::Millis(3));
    return client;
  }
  SimClient& ConnectAs(const core::NodePublic& key, ConnectOptions options = {}) {
    options.tls = GetParam().tls;
    SimClient& client = world_->Connect(key, options);
    world_->Run(core::Millis(3));
    return client;
  }
  SimClient& Mesh() { return Connect({.can_mesh = true}); }
  void Send(SimClient& client, FrameType type, core::Bytes payload) {
    world_->Send(client, sim::MakeFrame(type, payload));
  }
  void SendPacket(SimClient& from, SimClient& to, core::Bytes packet) {
    world_->SendPacket(from, to.key(), packet);
  }

  std::unique_ptr<RelayWorld> world_;
};

// For INSTANTIATE_TEST_SUITE_P of such tests.
inline auto AllVariants() {
  return testing::Values(Variant{false, 1}, Variant{true, 1}, Variant{false, 2}, Variant{true, 2});
}
inline std::string NameOf(const testing::TestParamInfo<Variant>& test) {
  return std::string(test.param.tls ? "Tls" : "Plain") + std::to_string(test.param.shards) +
         (test.param.shards == 1 ? "Shard" : "Shards");
}

inline std::multiset<core::NodePublic> Keys(const std::vector<Frame>& frames, FrameType type) {
  std::multiset<core::NodePublic> keys;
  for (const Frame& frame : frames) {
    if (TypeOf(frame) == type) keys.insert(KeyIn(frame));
  }
  return keys;
}

inline std::vector<Frame> ReceiveAll(RelayWorld& world, SimClient& client) {
  std::vector<Frame> frames;
  for (;;) {
    Frame frame = world.Receive(client, core::Millis(20));
    if (frame.empty()) return frames;
    frames.push_back(std::move(frame));
  }
}

}  // namespace ringscale::relay
