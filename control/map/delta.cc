#include "control/map/delta.h"

#include <algorithm>
#include <set>

#include "control/wire/node_json.h"

namespace ringscale::control {
namespace {

// Up to this many changed peers are one frame; above, chunks, so that a viewer
// among them costs one small frame of its own and not all of them.
constexpr std::size_t kSingleFrame = 48;
constexpr std::size_t kChunk = 32;
// Peers of some 160 bytes: from here on it is as much as a full map.
constexpr std::size_t kLargeDelta = 512;

}  // namespace

Difference CollectDifference(PeerIndex& index, Audience& told, Audience& now, Sequence from) {
  Difference difference;
  std::set<UserId> users;
  const auto& left = index.LeftSince(from);
  const std::set<NodeId> rerouted = now.Rerouted(told, from);
  const bool other_families = told.ipv6_only() != now.ipv6_only();
  const auto consider = [&](Peer* peer) {
    const auto gone = left.find(peer->id);
    const bool known = gone == left.end()
                           ? peer->added <= from && told.Sees(peer->group)
                           : gone->second->added <= from && told.Sees(gone->second->group);
    if (!now.Sees(peer->group)) {
      if (known) difference.removed.push_back(peer->id);
      return;
    }
    const bool was_ipv6_only = (peer->readdressed > from) != peer->ipv6_only;
    const bool other_addresses =
        (told.ipv6_only() || was_ipv6_only) != (now.ipv6_only() || peer->ipv6_only);
    if (!known || peer->replaced > from || rerouted.contains(peer->id) || other_addresses) {
      difference.changed.push_back(peer);
      if (!told.HadUser(peer->user, from)) users.insert(peer->user);
      return;
    }
    unsigned fields = 0;
    for (std::size_t bit = 0; bit < peer->fields.size(); ++bit) {
      if (peer->fields[bit] > from) fields |= 1U << bit;
    }
    if (fields != 0) difference.patched.emplace_back(peer, static_cast<std::uint16_t>(fields));
  };
  for (Peer* peer = index.newest(); peer != nullptr && peer->changed > from; peer = peer->older) {
    consider(peer);
  }
  for (const auto& [id, gone] : left) {
    if (index.Find(id) != nullptr) continue;
    if (gone->added <= from && told.Sees(gone->group)) difference.removed.push_back(id);
  }
  // Those that did not change, but of which the viewers now hear, or hear no more.
  const auto consider_those_of = [&](Audience& one, Audience& other) {
    for (const auto& group : one.groups()) {
      if (other.Sees(group) && !(other_families && &other == &told)) continue;
      for (const auto& block : group->blocks) {
        for (Peer* peer : block->members) {
          if (peer->changed <= from) consider(peer);
        }
      }
    }
  };
  if (&told != &now) {
    consider_those_of(told, now);
    consider_those_of(now, told);
  }
  for (const NodeId id : rerouted) {
    Peer* const peer = index.Find(id);
    if (peer != nullptr && peer->changed <= from && told.Sees(peer->group) &&
        now.Sees(peer->group) && !other_families) {
      consider(peer);
    }
  }
  for (auto change = index.user_changes().rbegin();
       change != index.user_changes().rend() && change->at > from; ++change) {
    if (now.HasUser(change->id)) users.insert(change->id);
  }
  difference.users.assign(users.begin(), users.end());
  std::sort(difference.removed.begin(), difference.removed.end());
  std::sort(difference.changed.begin(), difference.changed.end(),
            [](const Peer* a, const Peer* b) { return a->id < b->id; });
  std::sort(difference.patched.begin(), difference.patched.end(),
            [](const auto& a, const auto& b) { return a.first->id < b.first->id; });
  return difference;
}

SharedDelta::SharedDelta(PeerIndex& index, AudiencePtr told, AudiencePtr now, Encoder& encoder,
                         Encoding encoding, Sequence from)
    : index_(index),
      told_(std::move(told)),
      audience_(std::move(now)),
      encoder_(encoder),
      encoding_(encoding),
      to_(index.head()),
      difference_(CollectDifference(index, *told_, *audience_, from)) {}

bool SharedDelta::large() const {
  return difference_.changed.size() > kLargeDelta;
}

bool SharedDelta::worth_a_map() const {
  std::size_t seen = 0;
  for (const auto& group : audience_->groups()) seen += group->nodes;
  return large() && 2 * difference_.changed.size() > seen;
}

void SharedDelta::AppendHead(std::string& out) const {
  bool first = true;
  const auto begin = [&](std::string_view key) {
    if (!first) out += ',';
    first = false;
    out += key;
  };
  if (!difference_.removed.empty()) {
    begin("\"PeersRemoved\":[");
    for (std::size_t i = 0; i < difference_.removed.size(); ++i) {
      if (i > 0) out += ',';
      out += std::to_string(difference_.removed[i]);
    }
    out += ']';
  }
  if (!difference_.users.empty()) {
    std::string profiles;
    for (const UserId user : difference_.users) {
      const std::size_t before = profiles.size();
      if (!profiles.empty()) profiles += ',';
      if (!AppendProfile(profiles, index_.source(), user)) profiles.resize(before);
    }
    if (!profiles.empty()) {
      begin("\"UserProfiles\":[");
      out += profiles;
      out += ']';
    }
  }
  if (!difference_.patched.empty()) {
    std::string patches;
    for (const auto& [peer, fields] : difference_.patched) {
      const Node* node = index_.source().FindNode(peer->id);
      if (node == nullptr) continue;
      const std::size_t before = patches.size();
      if (!patches.empty()) patches += ',';
      if (!AppendPeerPatch(patches, *node, fields)) patches.resize(before);
    }
    if (!patches.empty()) {
      begin("\"PeersChangedPatch\":[");
      out += patches;
      out += ']';
    }
  }
}

void SharedDelta::AppendChanged(std::string& out, std::size_t first, std::size_t last,
                                NodeId viewer) const {
  // The first element of all has no comma before it; chunks after the first do.
  bool comma = first > 0;
  for (std::size_t i = first; i < last; ++i) {
    if (difference_.changed[i]->id == viewer) continue;
    std::string scratch;
    const std::string_view json = audience_->JsonOf(*difference_.changed[i], scratch);
    if (json.empty()) continue;
    if (comma) out += ',';
    comma = true;
    out += json;
  }
}

OutputPtr SharedDelta::Make(NodeId viewer) {
  const std::vector<Peer*>& changed = difference_.changed;
  MessageBuilder message(encoder_, encoding_);
  std::string& text = message.text();
  text += '{';
  AppendHead(text);
  const std::size_t without_viewer =
      changed.size() -
      static_cast<std::size_t>(std::count_if(changed.begin(), changed.end(),
                                             [&](const Peer* peer) { return peer->id == viewer; }));
  if (without_viewer == 0) {
    if (text.size() == 1) return nullptr;
    text += '}';
    message.EndMessage();
    return message.Take();
  }
  if (text.size() > 1) text += ',';
  text += "\"PeersChanged\":[";
  if (changed.size() <= kSingleFrame) {
    AppendChanged(text, 0, changed.size(), viewer);
  } else {
    chunks_.resize((changed.size() + kChunk - 1) / kChunk);
    for (std::size_t chunk = 0; chunk < chunks_.size(); ++chunk) {
      const std::size_t first = chunk * kChunk;
      const std::size_t last = std::min(first + kChunk, changed.size());
      const bool own = changed[first]->id <= viewer && viewer <= changed[last - 1]->id;
      if (own) {
        AppendChanged(text, first, last, viewer);
        continue;
      }
      if (chunks_[chunk].owner == nullptr) {
        std::string elements;
        AppendChanged(elements, first, last, 0);
        chunks_[chunk] = encoder_.Encode(encoding_, std::move(elements));
      }
      message.Shared(chunks_[chunk]);
    }
  }
  message.Text("]}");
  message.EndMessage();
  return message.Take();
}

OutputPtr SharedDelta::For(NodeId viewer) {
  if (difference_.empty()) return nullptr;
  // Clients ignore patches and removals of peers they do not know, so a viewer's own
  // may be in the shared message; alone it is not worth sending.
  if (difference_.changed.empty() && difference_.users.empty() &&
      std::ranges::all_of(difference_.removed, [&](NodeId id) { return id == viewer; }) &&
      std::ranges::all_of(difference_.patched,
                          [&](const auto& patch) { return patch.first->id == viewer; })) {
    return nullptr;
  }
  const auto& changed = difference_.changed;
  const auto own = std::lower_bound(changed.begin(), changed.end(), viewer,
                                    [](const Peer* peer, NodeId id) { return peer->id < id; });
  if (own != changed.end() && (*own)->id == viewer) return Make(viewer);
  if (shared_ == nullptr) shared_ = Make(0);
  return shared_;
}

}  // namespace ringscale::control
