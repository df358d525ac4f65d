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

}  // namespace

Difference CollectDifference(PeerIndex& index, Audience& audience, Sequence from) {
  Difference difference;
  std::set<UserId> users;
  for (Peer* peer = index.newest(); peer != nullptr && peer->changed > from; peer = peer->older) {
    if (!audience.Sees(peer->group)) continue;
    if (peer->added > from || peer->replaced > from) {
      difference.changed.push_back(peer);
      if (!audience.HadUser(peer->user, from)) users.insert(peer->user);
      continue;
    }
    unsigned fields = 0;
    for (std::size_t bit = 0; bit < peer->fields.size(); ++bit) {
      if (peer->fields[bit] > from) fields |= 1U << bit;
    }
    difference.patched.emplace_back(peer, static_cast<std::uint16_t>(fields));
  }
  for (auto gone = index.removed().rbegin(); gone != index.removed().rend() && gone->removed > from;
       ++gone) {
    if (gone->added <= from && audience.Sees(gone->group)) difference.removed.push_back(gone->id);
  }
  for (auto change = index.user_changes().rbegin();
       change != index.user_changes().rend() && change->at > from; ++change) {
    if (audience.HasUser(change->id)) users.insert(change->id);
  }
  difference.users.assign(users.begin(), users.end());
  std::sort(difference.removed.begin(), difference.removed.end());
  std::sort(difference.changed.begin(), difference.changed.end(),
            [](const Peer* a, const Peer* b) { return a->id < b->id; });
  std::sort(difference.patched.begin(), difference.patched.end(),
            [](const auto& a, const auto& b) { return a.first->id < b.first->id; });
  return difference;
}

SharedDelta::SharedDelta(PeerIndex& index, Audience& audience, Encoder& encoder, Encoding encoding,
                         Sequence from)
    : index_(index),
      audience_(audience),
      encoder_(encoder),
      encoding_(encoding),
      to_(index.head()),
      difference_(CollectDifference(index, audience, from)) {
  audience.NoteVaried();
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
    const std::string_view json = audience_.JsonOf(*difference_.changed[i], scratch);
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
  // Clients ignore patches of peers they do not know, so a viewer's own patch may
  // be in the shared message; alone it is not worth sending.
  if (difference_.patched.size() == 1 && difference_.patched.front().first->id == viewer &&
      difference_.changed.empty() && difference_.removed.empty() && difference_.users.empty()) {
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
