#include "control/map/map_builder.h"

#include <algorithm>
#include <functional>

#include "control/wire/node_json.h"
#include "core/json/writer.h"

namespace ringscale::control {

MapBuilder::MapBuilder(PeerIndex& index, const PolicyView& policy, Encoder& encoder,
                       SettingsPieces& settings, bool file_sharing)
    : index_(index),
      policy_(policy),
      encoder_(encoder),
      settings_(settings),
      file_sharing_(file_sharing) {
  for (const Encoding encoding : {Encoding::kPlain, Encoding::kZstd}) {
    fixed_[static_cast<std::size_t>(encoding)] = {
        .patches = encoder_.Encode(encoding, "{\"PeersChangedPatch\":["),
        .comma = encoder_.Encode(encoding, ","),
        .end = encoder_.Encode(encoding, "]}")};
  }
}

void MapBuilder::AppendNode(std::string& out, const Node& viewer) {
  out += "\"Node\":";
  AppendSelf(out, viewer,
             {.base_domain = index_.base_domain(),
              .primary_routes = index_.source().PrimaryRoutes(viewer.row.id),
              .ipv6_only = policy_.Ipv6Only(policy_.ClassOfViewer(viewer))},
             {.file_sharing = file_sharing_, .policy = &policy_});
}

MapBuilder::Rules MapBuilder::RulesOf(const Node& viewer) const {
  Rules rules;
  std::string& out = rules.text;
  // Without a filter clients let nothing in; an empty list says the same.
  out += "\"PacketFilters\":{\"base\":[";
  bool first = true;
  for (const PolicyText& text : policy_.PacketFilter(viewer)) {
    if (text->empty()) continue;
    if (!first) out += ',';
    first = false;
    out += *text;
  }
  out += "]},\"SSHPolicy\":";
  out += *policy_.SshPolicy(viewer);
  const std::size_t length = out.size();
  core::json::Writer json(out);
  json.BeginObject();
  policy_.AddSelfCapabilities(viewer, json);
  rules.digest = std::hash<std::string_view>()(out);
  out.resize(length);
  return rules;
}

void MapBuilder::AppendSelfMessage(MessageBuilder& message, const Node& viewer) {
  std::string& text = message.text();
  text += '{';
  AppendNode(text, viewer);
  std::string profile;
  if (AppendProfile(profile, index_.source(), viewer.wire_user())) {
    text += ",\"UserProfiles\":[" + profile + "]";
  }
  text += '}';
  message.EndMessage();
}

void MapBuilder::AppendPolicyMessage(MessageBuilder& message, const Node& viewer,
                                     const Rules& rules, bool with_node) {
  std::string& text = message.text();
  text += '{';
  if (with_node) {
    AppendNode(text, viewer);
    text += ',';
  }
  text += rules.text;
  text += '}';
  message.EndMessage();
}

OutputPtr MapBuilder::LoggedOut(const core::NodePublic& node_key, const ClientKind& client,
                                Encoding encoding) {
  MessageBuilder message(encoder_, encoding);
  message.Shared(settings_.Head(client, encoding));
  std::string& text = message.text();
  AppendLoggedOutProfile(text);
  text += "],\"Node\":";
  AppendExpiredSelf(text, node_key, index_.base_domain());
  text += '}';
  message.EndMessage();
  return message.Take();
}

bool MapBuilder::AppendBlockInParts(MessageBuilder& message, Block& block, NodeId viewer,
                                    PeerForm form) {
  const std::size_t parts = (block.members.size() + kSubBlockPeers - 1) / kSubBlockPeers;
  // The part made for this viewer: the one it is in, else the first.
  const auto own = std::find_if(block.members.begin(), block.members.end(),
                                [&](const Peer* peer) { return peer->id == viewer; });
  const auto own_index = static_cast<std::size_t>(own - block.members.begin());
  std::size_t special = own == block.members.end() ? 0 : own_index / kSubBlockPeers;
  std::string text;
  const auto render = [&](std::size_t part) {
    const std::size_t first = part * kSubBlockPeers;
    const std::size_t last = std::min(first + kSubBlockPeers, block.members.size());
    for (std::size_t i = first; i < last; ++i) {
      if (i == own_index) continue;
      const std::string& json = index_.Json(*block.members[i], form.ipv6_only);
      if (json.empty()) continue;
      if (!text.empty()) text += ',';
      text += json;
    }
  };
  render(special);
  if (text.empty()) {
    // It is alone in its part: another one begins the list.
    const std::size_t alone = special;
    for (std::size_t part = 0; part < parts && text.empty(); ++part) {
      if (part == alone) continue;
      render(part);
      special = part;
    }
    if (text.empty()) return false;
    message.Text(text);
    for (std::size_t part = 0; part < parts; ++part) {
      if (part != alone && part > special) {
        message.Shared(index_.BlockPart(block, part, form));
      }
    }
    return true;
  }
  message.Text(text);
  for (std::size_t part = 0; part < parts; ++part) {
    if (part != special) message.Shared(index_.BlockPart(block, part, form));
  }
  return true;
}

OutputPtr MapBuilder::FullMap(const Node& viewer, Audience& audience, const ClientKind& client,
                              Encoding encoding, core::WallTime now,
                              const std::vector<NodeId>& forgotten) {
  const NodeId id = viewer.row.id;
  const PeerForm form{.encoding = encoding, .ipv6_only = audience.ipv6_only()};
  MessageBuilder message(encoder_, encoding);
  message.Shared(settings_.Head(client, encoding));
  const bool shared_profiles = audience.has_profiles();
  if (shared_profiles) message.Shared(audience.Profiles(encoding));
  std::string& text = message.text();
  if (!audience.HasUser(viewer.wire_user())) {
    std::string profile;
    if (AppendProfile(profile, index_.source(), viewer.wire_user())) {
      if (shared_profiles) text += ',';
      text += profile;
    }
  }
  text += "],";
  AppendNode(text, viewer);
  text += ',';
  const Rules rules = RulesOf(viewer);
  last_digest_ = rules.digest;
  text += rules.text;
  text += ",\"ControlTime\":\"" + core::FormatRfc3339(now) + "\"";

  // The viewer's own block first, else any: its beginning is made for this viewer
  // anyway, and the list must begin with a peer that has no comma before it.
  const Peer* own = index_.Find(id);
  Block* first = own != nullptr && audience.Sees(own->group) ? own->block : nullptr;
  const auto only_viewer = [&](const Block& block) {
    return block.members.size() == 1 && block.members.front()->id == id;
  };
  if (first == nullptr || only_viewer(*first)) {
    first = nullptr;
    for (const PeerGroup* group : audience.groups()) {
      for (const auto& block : group->blocks) {
        if (block->members.empty() || only_viewer(*block)) continue;
        first = block.get();
        break;
      }
      if (first != nullptr) break;
    }
  }
  if (first == nullptr) {
    if (!forgotten.empty()) {
      message.Text(",\"PeersRemoved\":[");
      for (std::size_t i = 0; i < forgotten.size(); ++i) {
        if (i > 0) message.Text(",");
        message.Text(std::to_string(forgotten[i]));
      }
      message.Text("]");
    }
    message.Text("}");
    message.EndMessage();
    return message.Take();
  }
  message.Text(",\"Peers\":[");
  AppendBlockInParts(message, *first, id, form);
  core::SliceList pieces;
  for (const PeerGroup* group : audience.groups()) {
    for (const auto& block : group->blocks) {
      if (block.get() == first || only_viewer(*block)) continue;
      index_.AppendBlock(*block, form, pieces);
    }
  }
  for (const core::SharedSlice& piece : pieces) message.Shared(piece);
  const Fixed& fixed = fixed_[static_cast<std::size_t>(encoding)];
  message.Shared(fixed.end);
  message.EndMessage();

  // Blocks are the same for everybody: routes that are not, behind them.
  if (const std::string varied = audience.VariedPeers(id); !varied.empty()) {
    message.Text("{\"PeersChanged\":[" + varied + "]}");
    message.EndMessage();
  }

  bool any = false;
  for (const PeerGroup* group : audience.groups()) {
    for (const auto& block : group->blocks) {
      if (block.get() == first || only_viewer(*block)) continue;
      const core::SharedSlice patches = index_.LatePatches(*block, encoding);
      if (patches.owner == nullptr) continue;
      message.Shared(any ? fixed.comma : fixed.patches);
      message.Shared(patches);
      any = true;
    }
  }
  if (any) {
    message.Shared(fixed.end);
    message.EndMessage();
  }
  return message.Take();
}

}  // namespace ringscale::control
