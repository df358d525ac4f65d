#include "control/map/peer_index.h"

#include <algorithm>
#include <utility>

#include "control/wire/node_json.h"

namespace ringscale::control {

PeerIndex::PeerIndex(const MapSource& source, const PolicyView& policy, Encoder& encoder,
                     std::string base_domain)
    : source_(source), policy_(policy), encoder_(encoder), base_domain_(std::move(base_domain)) {}

PeerIndex::~PeerIndex() = default;

void PeerIndex::Rebuild() {
  peers_.clear();
  groups_.clear();
  by_age_.clear();
  removed_.clear();
  user_changes_.clear();
  newest_ = nullptr;
  oldest_ = nullptr;
  ++users_version_;
  const Sequence at = Advance();
  floor_ = at;
  source_.EachNode([&](const Node& node) { Insert(node, at); });
}

Peer* PeerIndex::Find(NodeId id) const {
  const auto at = peers_.find(id);
  return at == peers_.end() ? nullptr : at->second.get();
}

PeerGroupPtr PeerIndex::Group(PeerClass id) {
  auto& group = groups_[id];
  if (!group) {
    group = std::make_shared<PeerGroup>();
    group->id = id;
    group->created = ++groups_version_;
    by_age_.push_back(group);
  }
  return group;
}

std::span<const PeerGroupPtr> PeerIndex::GroupsSince(std::uint64_t version) const {
  const auto first = std::ranges::upper_bound(
      by_age_, version, {}, [](const PeerGroupPtr& group) { return group->created; });
  return {first, by_age_.end()};
}

bool PeerIndex::Move(const Node& node) {
  const auto found = peers_.find(node.row.id);
  if (found == peers_.end()) return false;
  Peer& peer = *found->second;
  const PeerClass now = policy_.ClassOfPeer(node);
  if (const bool ipv6_only = policy_.Ipv6Only(now); ipv6_only != peer.ipv6_only) {
    peer.ipv6_only = ipv6_only;
    peer.readdressed = Advance();
    Invalidate(peer);
    Touch(peer, peer.readdressed);
  }
  if (peer.group->id == now) return false;
  const Sequence at = Advance();
  removed_.push_back({peer.id, peer.group, peer.added, at});
  Dereference(peer);
  TakeFromBlock(peer);
  peer.group = Group(now);
  peer.added = at;
  Reference(peer, node.wire_user(), at);
  PlaceInBlock(peer);
  Touch(peer, at);
  return true;
}

void PeerIndex::MoveAll() {
  source_.EachNode([this](const Node& node) { (void)Move(node); });
}

const PeerIndex::Whereabouts& PeerIndex::LeftSince(Sequence position) {
  if (left_since_head_ != head_) left_since_.clear();
  left_since_head_ = head_;
  const auto [at, fresh] = left_since_.try_emplace(position);
  if (!fresh) return at->second;
  for (auto gone = removed_.rbegin(); gone != removed_.rend() && gone->removed > position; ++gone) {
    at->second[gone->id] = &*gone;  // the first of several is what counts
  }
  return at->second;
}

void PeerIndex::Insert(const Node& node, Sequence at) {
  auto& slot = peers_[node.row.id];
  slot = std::make_unique<Peer>();
  Peer& peer = *slot;
  peer.id = node.row.id;
  const PeerClass peer_class = policy_.ClassOfPeer(node);
  peer.group = Group(peer_class);
  peer.ipv6_only = policy_.Ipv6Only(peer_class);
  peer.added = at;
  Reference(peer, node.wire_user(), at);
  PlaceInBlock(peer);
  Touch(peer, at);
}

void PeerIndex::Add(const Node& node) {
  if (peers_.contains(node.row.id)) {
    Replace(node);
    return;
  }
  Insert(node, Advance());
}

void PeerIndex::Replace(const Node& node) {
  const auto found = peers_.find(node.row.id);
  if (found == peers_.end()) return;
  Peer& peer = *found->second;
  const Sequence at = Advance();
  peer.replaced = at;
  if (peer.user != node.wire_user()) {
    Dereference(peer);
    Reference(peer, node.wire_user(), at);
  }
  Invalidate(peer);
  Touch(peer, at);
}

void PeerIndex::Patch(const Node& node, std::uint16_t fields) {
  const auto found = peers_.find(node.row.id);
  if (found == peers_.end() || fields == 0) return;
  Peer& peer = *found->second;
  const Sequence at = Advance();
  for (std::size_t bit = 0; bit < peer.fields.size(); ++bit) {
    if ((fields >> bit & 1U) != 0) peer.fields[bit] = at;
  }
  Touch(peer, at);
  Outdate(peer, fields);
}

void PeerIndex::Refresh(const Node& node, std::uint16_t fields) {
  const auto found = peers_.find(node.row.id);
  if (found != peers_.end() && fields != 0) Outdate(*found->second, fields);
}

void PeerIndex::Outdate(Peer& peer, std::uint16_t fields) {
  Block& block = *peer.block;
  const bool may_be_late = (fields & ~kLatePatchFields) == 0 && block.whole.made() &&
                           (peer.late_fields != 0 || block.late.size() < kLatePatches);
  if (!may_be_late) {
    Invalidate(peer);
    return;
  }
  if (peer.late_fields == 0) block.late.push_back(&peer);
  peer.late_fields |= fields;
  block.patches.Forget();
  ForgetJson(peer);
  ForgetPart(peer);
}

void PeerIndex::Remove(NodeId id) {
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  Peer& peer = *found->second;
  removed_.push_back({id, peer.group, peer.added, Advance()});
  Dereference(peer);
  TakeFromBlock(peer);
  Unlink(peer);
  peers_.erase(found);
}

void PeerIndex::ChangeUser(UserId id) {
  user_changes_.push_back({id, Advance()});
  ++users_version_;
}

void PeerIndex::Touch(Peer& peer, Sequence at) {
  if (peer.changed != 0) Unlink(peer);
  peer.changed = at;
  peer.older = newest_;
  peer.newer = nullptr;
  (newest_ != nullptr ? newest_->newer : oldest_) = &peer;
  newest_ = &peer;
}

void PeerIndex::Unlink(Peer& peer) {
  (peer.older != nullptr ? peer.older->newer : oldest_) = peer.newer;
  (peer.newer != nullptr ? peer.newer->older : newest_) = peer.older;
  peer.older = nullptr;
  peer.newer = nullptr;
}

void PeerIndex::Reference(Peer& peer, UserId user, Sequence at) {
  peer.user = user;
  PeerGroup::UserRef& reference = peer.group->users[user];
  if (reference.nodes++ > 0) return;
  reference.since = at;
  ++users_version_;
}

void PeerIndex::Dereference(Peer& peer) {
  const auto reference = peer.group->users.find(peer.user);
  if (--reference->second.nodes > 0) return;
  peer.group->users.erase(reference);
  ++users_version_;
}

void PeerIndex::PlaceInBlock(Peer& peer) {
  PeerGroup& group = *peer.group;
  if (group.blocks.empty() || group.blocks.back()->members.size() == kBlockPeers) {
    group.blocks.push_back(std::make_unique<Block>());
    group.blocks.back()->members.reserve(kBlockPeers);
  }
  peer.block = group.blocks.back().get();
  peer.block->members.push_back(&peer);
  ++group.nodes;
  ForgetPieces(peer);
}

void PeerIndex::TakeFromBlock(Peer& peer) {
  PeerGroup& group = *peer.group;
  Block& block = *peer.block;
  // The last member takes the place: only two parts change.
  ForgetPieces(peer);
  ForgetPieces(*block.members.back());
  const auto place = std::find(block.members.begin(), block.members.end(), &peer);
  *place = block.members.back();
  block.members.pop_back();
  --group.nodes;
  if (block.members.size() >= kBlockPeers / 4) return;

  // A block that shrank is worth less: its members move to the last block, one
  // that is only shrinking itself takes in the last one's.
  const auto index = std::find_if(group.blocks.begin(), group.blocks.end(),
                                  [&](const auto& other) { return other.get() == &block; });
  const std::size_t last = group.blocks.size() - 1;
  if (static_cast<std::size_t>(index - group.blocks.begin()) == last) {
    if (block.members.empty()) group.blocks.pop_back();
    return;
  }
  const std::unique_ptr<Block> shrunk = std::move(*index);
  *index = std::move(group.blocks.back());
  group.blocks.pop_back();
  // The block that came from the end stays the one that grows.
  std::rotate(index, index + 1, group.blocks.end());
  for (Peer* member : shrunk->members) {
    --group.nodes;
    PlaceInBlock(*member);
  }
}

void PeerIndex::Invalidate(Peer& peer) {
  ForgetJson(peer);
  ForgetPieces(peer);
}

void PeerIndex::ForgetJson(Peer& peer) {
  peer.json.clear();
  peer.ipv6_json.clear();
}

void PeerIndex::ForgetPieces(const Peer& peer) {
  ForgetWhole(*peer.block);
  ForgetPart(peer);
}

void PeerIndex::ForgetWhole(Block& block) {
  if (block.uses > 0) block.restless = block.uses < kRestlessUses;
  block.uses = 0;
  block.whole.Forget();
  block.patches.Forget();
  for (Peer* peer : block.late) peer->late_fields = 0;
  block.late.clear();
}

void PeerIndex::ForgetPart(const Peer& peer) {
  Block& block = *peer.block;
  const auto place = std::find(block.members.begin(), block.members.end(), &peer);
  const auto index = static_cast<std::size_t>(place - block.members.begin());
  block.parts[index / kSubBlockPeers].Forget();
}

const std::string& PeerIndex::Json(Peer& peer, bool ipv6_only) {
  const bool differs = ipv6_only && !peer.ipv6_only;
  std::string& json = differs ? peer.ipv6_json : peer.json;
  if (json.empty()) {
    const Node* node = source_.FindNode(peer.id);
    if (node != nullptr) {
      AppendPeer(json, *node,
                 {.base_domain = base_domain_,
                  .primary_routes = source_.PrimaryRoutes(peer.id),
                  .ipv6_only = ipv6_only || peer.ipv6_only});
      json.shrink_to_fit();
    }
  }
  return json;
}

core::SharedSlice PeerIndex::MakePiece(Block& block, std::size_t first, std::size_t last,
                                       PeerForm form) {
  std::string text;
  text.reserve((last - first) * 800);
  for (std::size_t i = first; i < last; ++i) {
    const std::string& json = Json(*block.members[i], form.ipv6_only);
    if (json.empty()) continue;
    text += ',';
    text += json;
  }
  return encoder_.Encode(form.encoding, std::move(text));
}

void PeerIndex::AppendBlock(Block& block, PeerForm form, core::SliceList& pieces) {
  core::SharedSlice& whole = block.whole.forms[form.index()];
  ++block.uses;
  if (whole.owner == nullptr && block.restless && block.uses <= kRestlessUses) {
    for (std::size_t first = 0; first < block.members.size(); first += kSubBlockPeers) {
      pieces.push_back(BlockPart(block, first / kSubBlockPeers, form));
    }
    return;
  }
  if (whole.owner == nullptr) whole = MakePiece(block, 0, block.members.size(), form);
  pieces.push_back(whole);
}

core::SharedSlice PeerIndex::LatePatches(Block& block, Encoding encoding) {
  if (block.late.empty()) return {};
  core::SharedSlice& form = block.patches.forms[static_cast<std::size_t>(encoding)];
  if (form.owner != nullptr) return form;
  std::string text;
  for (const Peer* peer : block.late) {
    const Node* node = source_.FindNode(peer->id);
    if (node == nullptr) continue;
    const std::size_t before = text.size();
    if (!text.empty()) text += ',';
    if (!AppendPeerPatch(text, *node, peer->late_fields)) text.resize(before);
  }
  if (text.empty()) return {};
  form = encoder_.Encode(encoding, std::move(text));
  return form;
}

core::SharedSlice PeerIndex::BlockPart(Block& block, std::size_t part, PeerForm form) {
  core::SharedSlice& piece = block.parts[part].forms[form.index()];
  if (piece.owner == nullptr) {
    const std::size_t first = part * kSubBlockPeers;
    piece = MakePiece(block, first, std::min(first + kSubBlockPeers, block.members.size()), form);
  }
  return piece;
}

void PeerIndex::Forget(Sequence position) {
  if (position > head_) position = head_;
  while (!removed_.empty() && removed_.front().removed <= position) removed_.pop_front();
  while (!user_changes_.empty() && user_changes_.front().at <= position) {
    user_changes_.pop_front();
  }
  floor_ = std::max(floor_, position);
  left_since_.clear();
  DropGroups();
}

void PeerIndex::DropGroups() {
  const std::size_t before = groups_.size();
  std::erase_if(groups_, [](const auto& entry) {
    entry.second->dropped = entry.second->nodes == 0;
    return entry.second->dropped;
  });
  if (groups_.size() == before) return;
  std::erase_if(by_age_, [](const PeerGroupPtr& group) { return group->dropped; });
  ++drops_;
}

}  // namespace ringscale::control
