// What the tests of the map fan-out share: a tailnet in memory, a client that
// reads streams as tailscaled does, and a model of what it knows afterwards.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "control/map/map_service_impl.h"
#include "control/map/map_source.h"
#include "control/policy/allow_all.h"
#include "core/json/reader.h"
#include "tests/control/state_support.h"

namespace ringscale::control::testing {

// A JSON object as member name -> compact text.
using Members = std::map<std::string, std::string>;

// Nodes and users whose changes go to one service at once, as the registry does.
class FakeTailnet final : public MapSource {
 public:
  void Attach(ChangeListener& listener) { service_ = &listener; }

  void AddUser(UserId id, const std::string& name);
  void RenameUser(UserId id, const std::string& name);
  Node& AddNode(UserId user);
  void RemoveNode(NodeId id);
  // After a change of `node`; both publish it.
  void Replaced(NodeId id, bool self_too = false);
  void Patched(NodeId id, std::uint16_t fields, bool self_too = false);
  // Published without anybody being told.
  void Refreshed(NodeId id, std::uint16_t fields);
  void SelfChanged(NodeId id);
  void Publish(Change change);
  Node& At(NodeId id) { return nodes_.at(id); }
  [[nodiscard]] const std::map<NodeId, Node>& nodes() const { return nodes_; }
  [[nodiscard]] MapRequest Request(NodeId id, bool zstd = true) const;

  void EachNode(const std::function<void(const Node&)>& visit) const override;
  [[nodiscard]] const Node* FindNode(NodeId id) const override;
  [[nodiscard]] const storage::UserRow* FindUser(UserId id) const override;
  [[nodiscard]] std::vector<core::IpPrefix> PrimaryRoutes(NodeId id) const override;

  std::map<NodeId, std::vector<core::IpPrefix>> primary_routes;

 private:
  ChangeListener* service_ = nullptr;
  std::map<NodeId, Node> nodes_;
  std::map<UserId, storage::UserRow> users_;
  NodeId next_node_ = 1;
};

// Peers see those of their own colour; colour 0 sees everybody.
class ColourPolicy final : public PolicyView {
 public:
  [[nodiscard]] PeerClass ClassOfPeer(const Node& node) const override;
  [[nodiscard]] ViewerClass ClassOfViewer(const Node& node) const override;
  [[nodiscard]] std::vector<PeerClass> Visible(ViewerClass viewer) const override;
  [[nodiscard]] std::vector<FilterEntry> PacketFilter(const Node& node) const override;
  [[nodiscard]] std::uint64_t RulesVersion(ViewerClass viewer) const override;
  [[nodiscard]] PolicyText SshPolicy(const Node& node) const override;
  void AddSelfCapabilities(const Node& node, core::json::Writer& cap_map) const override;

  std::map<NodeId, std::uint32_t> colours;  // absent = 0
  std::uint64_t version = 0;                // to be counted up when colours of nodes change
  static constexpr std::uint32_t kColours = 4;
};

struct CountingWaker final : core::http::BodyWaker {
  void Wake() override { ++wakes; }
  int wakes = 0;
};

// What a client knows: the merge algorithm of tailscaled's map session. Every
// broken rule fails the test.
class MapClientModel {
 public:
  explicit MapClientModel(NodeId self) : self_(self) {}
  void Apply(std::string_view json);

  Members node;
  std::map<NodeId, Members> peers;
  std::map<UserId, Members> profiles;
  std::string dns_config;
  std::string derp_map;
  std::map<std::string, std::string> filters;            // PacketFilters by name
  [[nodiscard]] std::vector<std::string> Rules() const;  // of all filters, sorted
  std::string ssh_policy;
  int messages = 0;  // keep-alives not counted
  int keep_alives = 0;
  int full_maps = 0;
  int deltas = 0;
  int changed_entries = 0;
  int patch_entries = 0;
  int removed_entries = 0;
  int filter_entries = 0;

 private:
  void ApplyFilters(core::json::Value named);
  void ApplyPeers(core::json::Value root);
  void CheckPeer(NodeId id);
  const NodeId self_;
};

// The connection's side of one stream: pulls, cuts into messages, decodes.
class TestClient {
 public:
  TestClient(MapServiceImpl& service, const FakeTailnet& tailnet, NodeId id, bool zstd = true);
  TestClient(MapServiceImpl& service, NodeId id, const MapRequest& request);
  // False when there was nothing (or the stream ended).
  bool PullOnce(std::size_t limit = 16384);
  // Until there is nothing more for now; returns the bytes.
  std::size_t Drain(std::size_t limit = 16384);
  void Close() { stream_.reset(); }
  void SetAuthority(std::string authority) { stream_->SetAuthority(std::move(authority)); }
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] NodeId id() const { return id_; }
  [[nodiscard]] const std::vector<std::string>& raw_messages() const { return raw_; }

  MapClientModel model;
  CountingWaker waker;

 private:
  const NodeId id_;
  const bool zstd_;
  std::unique_ptr<MapStream> stream_;
  std::string buffer_;
  std::vector<std::string> raw_;  // the last messages as they came, without prefix
  std::size_t bytes_ = 0;
  bool ended_ = false;
};

// Whole zstd frames, as many as there are. nullopt when damaged.
std::optional<std::string> DecodeFrames(std::string_view bytes);
Members ReadMembers(std::string_view json);
// Without what a client cannot tell apart.
Members Normalised(Members peer);

// What a client that asks anew, without a stream, is told.
MapClientModel AskAnew(MapServiceImpl& service, const FakeTailnet& tailnet, NodeId id);
// The rules of a node's packet filter, sorted.
std::vector<std::string> RulesOf(const std::vector<FilterEntry>& filter);
// What `viewer` must know of `peer` when up to date.
Members ExpectedPeer(const MapSource& tailnet, NodeId peer);
// Fails the test unless the model equals the tailnet as `viewer` may see it.
void ExpectConverged(const TestClient& client, const MapSource& tailnet, const PolicyView& policy);

// The least time between two fan-outs.
inline constexpr core::Duration kTick = core::Millis(10);

// A service on a tailnet in memory under `Policy`.
template <class Policy>
class MapServiceFixture : public ::testing::Test {
 protected:
  void Start(MapOptions options = {}) {
    service = std::make_unique<MapServiceImpl>(loop, tailnet, policy, options);
    EmbeddedRegion region;
    region.pin = "sha256-raw:ab";
    DerpMap derp;
    derp.embedded = region;
    service->SetDerp(derp);
    service->SetDns({});
    service->Load();
    tailnet.Attach(*service);
  }
  // With that many nodes of one user.
  void StartWith(std::size_t nodes, MapOptions options = {}) {
    tailnet.AddUser(1, "ann");
    for (std::size_t i = 0; i < nodes; ++i) tailnet.AddNode(1);
    Start(options);
  }
  std::unique_ptr<TestClient> Open(NodeId id, bool zstd = true) {
    return std::make_unique<TestClient>(*service, tailnet, id, zstd);
  }
  struct TwoClients {
    std::unique_ptr<TestClient> a, b;
  };
  // As StartWith; the first two nodes have their maps.
  TwoClients StartWithTwoClients(std::size_t nodes) {
    StartWith(nodes);
    TwoClients clients{Open(1), Open(2)};
    Settle({clients.a.get(), clients.b.get()});
    return clients;
  }
  // Tells what may be told now, and what has to wait for the next fan-out.
  void Settle(const std::vector<TestClient*>& clients) {
    for (const core::Duration wait : {core::Duration{}, kTick}) {
      loop.Advance(wait);
      for (TestClient* client : clients) client->Drain();
    }
  }

  ManualLoop loop;
  FakeTailnet tailnet;
  Policy policy;
  std::unique_ptr<MapServiceImpl> service;
};

// Everybody sees everybody.
using MapServiceTest = MapServiceFixture<AllowAllPolicy>;

}  // namespace ringscale::control::testing
