#include "tests/control/map_support.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include "control/wire/node_json.h"
#include "core/base/bytes.h"

namespace ringscale::control::testing {

// --- FakeTailnet ---

void FakeTailnet::AddUser(UserId id, const std::string& name) {
  storage::UserRow& user = users_[id];
  user.id = id;
  user.name = name;
  Publish({.kind = Change::Kind::kUserChanged, .id = id});
}

void FakeTailnet::RenameUser(UserId id, const std::string& name) {
  AddUser(id, name);
}

Node& FakeTailnet::AddNode(UserId user) {
  const NodeId id = next_node_++;
  Node& node = nodes_[id];
  node.row.id = id;
  node.row.stable_id = "n" + std::to_string(id * 7919) + "stable";
  node.row.machine_key = Machine(id);
  node.row.node_key = NodeKey(id);
  node.row.disco_key = Disco(id);
  node.row.user_id = user;
  node.row.given_name = "host-" + std::to_string(id);
  node.row.hostname = node.row.given_name;
  node.row.ipv4 = core::IpAddress::V4(static_cast<std::uint32_t>(0x64400000U + id));
  node.row.ipv6 = *core::IpAddress::Parse("fd7a:115c:a1e0::" + std::to_string(id % 10000));
  node.row.created = *core::ParseRfc3339("2026-01-01T00:00:00Z");
  node.row.last_seen = node.row.created;
  node.row.capability_version = 142;
  node.peer_hostinfo = R"({"Hostname":")" + node.row.hostname + R"(","OS":"linux"})";
  node.online = true;
  Publish({.kind = Change::Kind::kNodeAdded, .id = id, .node = &node});
  return node;
}

void FakeTailnet::RemoveNode(NodeId id) {
  const auto node = nodes_.extract(id);
  Publish({.kind = Change::Kind::kNodeRemoved, .id = id, .node = &node.mapped()});
}

void FakeTailnet::Replaced(NodeId id, bool self_too) {
  ++At(id).version;
  Publish({.kind = Change::Kind::kNodeReplaced, .id = id, .self_too = self_too, .node = &At(id)});
}

void FakeTailnet::Patched(NodeId id, std::uint16_t fields, bool self_too) {
  ++At(id).version;
  Publish({.kind = Change::Kind::kNodePatched,
           .id = id,
           .fields = fields,
           .self_too = self_too,
           .node = &At(id)});
}

void FakeTailnet::Refreshed(NodeId id, std::uint16_t fields) {
  ++At(id).version;
  Publish({.kind = Change::Kind::kNodeRefreshed, .id = id, .fields = fields, .node = &At(id)});
}

void FakeTailnet::SelfChanged(NodeId id) {
  Publish({.kind = Change::Kind::kSelf, .id = id, .node = &At(id)});
}

void FakeTailnet::Publish(Change change) {
  if (service_ != nullptr) service_->OnChange(change);
}

MapRequest FakeTailnet::Request(NodeId id, bool zstd) const {
  MapRequest request;
  request.version = 142;
  request.zstd = zstd;
  request.keep_alive = true;
  request.stream = true;
  const Node* node = FindNode(id);
  request.node_key = node != nullptr ? node->row.node_key : NodeKey(999999);
  return request;
}

void FakeTailnet::EachNode(const std::function<void(const Node&)>& visit) const {
  for (const auto& [id, node] : nodes_) visit(node);
}

const Node* FakeTailnet::FindNode(NodeId id) const {
  const auto found = nodes_.find(id);
  return found == nodes_.end() ? nullptr : &found->second;
}

const storage::UserRow* FakeTailnet::FindUser(UserId id) const {
  const auto found = users_.find(id);
  return found == users_.end() ? nullptr : &found->second;
}

std::vector<core::IpPrefix> FakeTailnet::PrimaryRoutes(NodeId id) const {
  const auto found = primary_routes.find(id);
  return found == primary_routes.end() ? std::vector<core::IpPrefix>{} : found->second;
}

// --- ColourPolicy ---

PeerClass ColourPolicy::ClassOfPeer(const Node& node) const {
  const auto found = colours.find(node.row.id);
  return found == colours.end() ? 0 : found->second;
}

ViewerClass ColourPolicy::ClassOfViewer(const Node& node) const {
  return ClassOfPeer(node) + 100;
}

std::vector<PeerClass> ColourPolicy::Visible(ViewerClass viewer) const {
  if (viewer != 100) return {viewer - 100};
  std::vector<PeerClass> all;
  for (std::uint32_t colour = 0; colour < kColours; ++colour) all.push_back(colour);
  return all;
}

std::vector<FilterEntry> ColourPolicy::PacketFilter(const Node& node) const {
  static const auto kEverybody =
      std::make_shared<const FilterSource>(FilterSource{.text = R"(["*"])"});
  return {{.name = 7,
           .rules = {{kEverybody, R"(,"DstPorts":[{"IP":"*","Ports":{"First":0,"Last":)" +
                                      std::to_string(ClassOfPeer(node)) + "}}]}"}}}};
}

std::uint64_t ColourPolicy::RulesVersion(ViewerClass viewer) const {
  (void)viewer;
  return version;
}

PolicyText ColourPolicy::SshPolicy(const Node& node) const {
  (void)node;
  return std::make_shared<const std::string>(R"({"rules":[]})");
}

void ColourPolicy::AddSelfCapabilities(const Node& node, core::json::Writer& cap_map) const {
  (void)node;
  (void)cap_map;
}

// --- decoding ---

std::optional<std::string> DecodeFrames(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const std::size_t frame = ZSTD_findFrameCompressedSize(bytes.data(), bytes.size());
    if (ZSTD_isError(frame) != 0) return std::nullopt;
    const unsigned long long size = ZSTD_getFrameContentSize(bytes.data(), frame);
    if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR) return std::nullopt;
    const std::size_t before = text.size();
    text.resize(before + size);
    const std::size_t got =
        ZSTD_decompress(text.data() + before, static_cast<std::size_t>(size), bytes.data(), frame);
    if (ZSTD_isError(got) != 0 || got != size) return std::nullopt;
    bytes.remove_prefix(frame);
  }
  return text;
}

namespace {

Members MembersOf(core::json::Value object) {
  Members members;
  object.Members([&](std::string_view key, core::json::Value value) {
    EXPECT_TRUE(members.emplace(std::string(key), value.Compact()).second)
        << "member twice: " << key;
    return true;
  });
  return members;
}

}  // namespace

Members Normalised(Members peer) {
  if (const auto at = peer.find("Endpoints"); at != peer.end() && at->second == "[]") {
    peer.erase(at);
  }
  if (const auto at = peer.find("KeyExpiry");
      at != peer.end() && at->second == "\"0001-01-01T00:00:00Z\"") {
    peer.erase(at);
  }
  return peer;
}

Members ReadMembers(std::string_view json) {
  core::json::Parser parser;
  const auto root = parser.Parse(json);
  if (!root) {
    ADD_FAILURE() << root.error().message << " in " << json;
    return {};
  }
  return MembersOf(*root);
}

// --- MapClientModel ---

void MapClientModel::CheckPeer(NodeId id) {
  EXPECT_NE(id, self_) << "a node among its own peers";
  const Members& peer = peers.at(id);
  const auto user = peer.find("User");
  ASSERT_NE(user, peer.end());
  EXPECT_TRUE(profiles.contains(std::stoull(user->second)))
      << "peer " << id << " of user " << user->second << " without a profile";
}

void MapClientModel::Apply(std::string_view json) {
  core::json::Parser parser;
  const auto root = parser.Parse(json, {.max_bytes = 64U << 20});
  ASSERT_TRUE(root.has_value()) << root.error().message << " in " << json.substr(0, 2000);
  ASSERT_TRUE(root->is_object());
  if ((*root)["KeepAlive"].AsBool().value_or(false)) {
    if (!(*root)["PingRequest"].is_object()) {
      EXPECT_EQ(json, kKeepAlive);
    }
    ++keep_alives;
    return;
  }
  MembersOf(*root);  // no member may occur twice
  if (messages++ == 0) {
    EXPECT_TRUE((*root)["Node"].is_object()) << "first map without Node";
  }
  (*root)["UserProfiles"].Elements([&](core::json::Value profile) {
    profiles[*profile["ID"].AsUint()] = MembersOf(profile);
    return true;
  });
  if (const auto self = (*root)["Node"]; self.is_object()) {
    node = MembersOf(self);
    EXPECT_TRUE(profiles.contains(std::stoull(node["User"])));
    EXPECT_EQ(node["MachineAuthorized"], "true");
  }
  if (const auto v = (*root)["DNSConfig"]; v.is_object()) dns_config = v.Compact();
  if (const auto v = (*root)["DERPMap"]; v.is_object()) derp_map = v.Compact();
  ApplyFilters((*root)["PacketFilters"]);
  if (const auto v = (*root)["SSHPolicy"]; v.is_object()) ssh_policy = v.Compact();
  ApplyPeers(*root);
}

void MapClientModel::ApplyFilters(core::json::Value named) {
  named.Members([&](std::string_view name, core::json::Value rules) {
    EXPECT_NE(name, "*");
    ++filter_entries;
    if (rules.is_null()) {
      EXPECT_EQ(filters.erase(std::string(name)), 1U) << "never sent";
      return true;
    }
    EXPECT_TRUE(rules.is_array());
    filters[std::string(name)] = rules.Compact();
    return true;
  });
}

std::vector<std::string> MapClientModel::Rules() const {
  std::vector<std::string> out;
  for (const auto& [name, text] : filters) {
    core::json::Parser parser;
    const auto rules = parser.Parse(text);
    EXPECT_TRUE(rules.has_value());
    rules->Elements([&](core::json::Value rule) {
      out.push_back(rule.Compact());
      return true;
    });
  }
  std::ranges::sort(out);
  return out;
}

void MapClientModel::ApplyPeers(core::json::Value root) {
  if (root["Peers"].size() > 0) {
    ++full_maps;
    peers.clear();
    root["Peers"].Elements([&](core::json::Value peer) {
      const NodeId id = *peer["ID"].AsUint();
      EXPECT_TRUE(peers.emplace(id, MembersOf(peer)).second) << "peer twice: " << id;
      CheckPeer(id);
      return true;
    });
    return;
  }
  if (root["DERPMap"].is_object() && root["Node"].is_object()) ++full_maps;
  const bool delta = !root["PeersRemoved"].missing() || !root["PeersChanged"].missing() ||
                     !root["PeersChangedPatch"].missing();
  if (delta) ++deltas;
  root["PeersRemoved"].Elements([&](core::json::Value id) {
    ++removed_entries;
    EXPECT_TRUE(peers.erase(*id.AsUint()) == 1 || *id.AsUint() == self_)
        << "removed but never sent: " << *id.AsUint();
    return true;
  });
  root["PeersChanged"].Elements([&](core::json::Value peer) {
    ++changed_entries;
    const NodeId id = *peer["ID"].AsUint();
    peers[id] = MembersOf(peer);
    CheckPeer(id);
    return true;
  });
  root["PeersChangedPatch"].Elements([&](core::json::Value patch) {
    ++patch_entries;
    const NodeId id = *patch["NodeID"].AsUint();
    const auto known = peers.find(id);
    if (known == peers.end()) {
      EXPECT_EQ(id, self_) << "patch of a peer never sent";
      return true;
    }
    patch.Members([&](std::string_view key, core::json::Value value) {
      if (key == "NodeID") return true;
      known->second[key == "DERPRegion" ? "HomeDERP" : std::string(key)] = value.Compact();
      return true;
    });
    return true;
  });
}

// --- TestClient ---

TestClient::TestClient(MapServiceImpl& service, const FakeTailnet& tailnet, NodeId id, bool zstd)
    : TestClient(service, id, tailnet.Request(id, zstd)) {}

TestClient::TestClient(MapServiceImpl& service, NodeId id, const MapRequest& request)
    : model(id),
      id_(id),
      zstd_(request.zstd),
      stream_(service.Open(id, request, "192.0.2.1:8080", false, waker)) {}

bool TestClient::PullOnce(std::size_t limit) {
  if (stream_ == nullptr || ended_) return false;
  core::SliceList slices;
  const auto status = stream_->Pull(limit, slices);
  std::size_t got = 0;
  for (const core::SharedSlice& slice : slices) {
    got += slice.bytes.size();
    buffer_ += slice.bytes;
  }
  EXPECT_LE(got, limit);
  bytes_ += got;
  if (status == core::http::BodySource::Status::kEnd) ended_ = true;
  if (status == core::http::BodySource::Status::kMore) {
    EXPECT_GT(got, 0U);
  }
  while (buffer_.size() >= 4) {
    const std::size_t size = core::LoadLe32(reinterpret_cast<const std::uint8_t*>(buffer_.data()));
    EXPECT_GT(size, 0U);
    if (buffer_.size() < 4 + size) break;
    const std::string message = buffer_.substr(4, size);
    buffer_.erase(0, 4 + size);
    const auto json = zstd_ ? DecodeFrames(message) : std::optional(message);
    EXPECT_TRUE(json.has_value());
    if (json) model.Apply(*json);
    raw_.push_back(message);
    if (raw_.size() > 8) raw_.erase(raw_.begin());
  }
  return status == core::http::BodySource::Status::kMore;
}

std::size_t TestClient::Drain(std::size_t limit) {
  const std::size_t before = bytes_;
  while (PullOnce(limit)) {
  }
  return bytes_ - before;
}

// --- expectations ---

MapClientModel AskAnew(MapServiceImpl& service, const FakeTailnet& tailnet, NodeId id) {
  MapClientModel model(id);
  const std::string framed =
      service.OneShot(id, tailnet.Request(id), "192.0.2.1:8080", /*https=*/false);
  for (std::string_view rest = framed; !rest.empty();) {
    const std::size_t size = core::LoadLe32(reinterpret_cast<const std::uint8_t*>(rest.data()));
    const auto json = DecodeFrames(rest.substr(4, size));
    EXPECT_TRUE(json.has_value());
    if (json) model.Apply(*json);
    rest.remove_prefix(4 + size);
  }
  return model;
}

std::vector<std::string> RulesOf(const std::vector<FilterEntry>& filter) {
  std::vector<std::string> out;
  for (const auto& entry : filter) {
    for (const auto& rule : entry.rules) out.push_back(rule.Json());
  }
  std::ranges::sort(out);
  return out;
}

Members ExpectedPeer(const MapSource& tailnet, NodeId peer) {
  std::string json;
  AppendPeer(json, *tailnet.FindNode(peer), {"tailnet.internal", tailnet.PrimaryRoutes(peer)});
  return Normalised(ReadMembers(json));
}

void ExpectConverged(const TestClient& client, const MapSource& tailnet, const PolicyView& policy) {
  const Node* viewer = tailnet.FindNode(client.id());
  ASSERT_NE(viewer, nullptr);
  const auto visible = policy.Visible(policy.ClassOfViewer(*viewer));
  std::map<NodeId, Members> expected;
  tailnet.EachNode([&](const Node& node) {
    const PeerClass peer_class = policy.ClassOfPeer(node);
    const bool seen = std::find(visible.begin(), visible.end(), peer_class) != visible.end();
    const NodeId id = node.row.id;
    if (id != client.id() && seen) expected[id] = ExpectedPeer(tailnet, id);
  });
  std::map<NodeId, Members> known = client.model.peers;
  for (auto& [id, peer] : known) peer = Normalised(std::move(peer));
  EXPECT_EQ(known.size(), expected.size()) << "viewer " << client.id();
  for (const auto& [id, peer] : expected) {
    const auto found = known.find(id);
    if (found == known.end()) {
      ADD_FAILURE() << "viewer " << client.id() << " does not know " << id;
      continue;
    }
    EXPECT_EQ(found->second, peer) << "viewer " << client.id() << ", peer " << id;
  }
  for (const auto& [id, peer] : known) {
    EXPECT_TRUE(expected.contains(id)) << "viewer " << client.id() << " still knows " << id;
    const auto& profile = client.model.profiles.at(std::stoull(peer.at("User")));
    std::string json;
    AppendProfile(json, tailnet, std::stoull(peer.at("User")));
    EXPECT_EQ(profile, ReadMembers(json));
  }
}

}  // namespace ringscale::control::testing
