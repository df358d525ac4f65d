#include "control/map/map_builder.h"

#include <algorithm>
#include <array>
#include <functional>
#include <optional>

#include "control/wire/node_json.h"
#include "core/base/bytes.h"
#include "core/base/hex.h"
#include "core/json/writer.h"

namespace ringscale::control {
namespace {

// Shorter lists of sources cost less as part of the text around them.
constexpr std::size_t kSharedSource = 1024;
constexpr std::uint64_t kMix = 0x9e3779b97f4a7c15;

using EntryDigest = std::pair<std::uint64_t, std::uint64_t>;

std::string EntryName(std::uint64_t name) {
  std::array<std::uint8_t, sizeof name> bytes;
  core::StoreBe64(bytes.data(), name);
  return name == 0 ? "base" : core::HexEncode(bytes);
}

}  // namespace

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
  rules.filter = policy_.PacketFilter(viewer);
  rules.ssh = policy_.SshPolicy(viewer);
  const std::hash<std::string_view> hash;
  for (const FilterEntry& entry : rules.filter) {
    std::uint64_t digest = entry.rules.size();
    for (const FilterRuleText& rule : entry.rules) {
      digest = (digest ^ rule.src->digest) * kMix;
      digest = (digest ^ hash(rule.rest)) * kMix;
    }
    rules.digests.filter.emplace_back(entry.name, digest);
  }
  std::ranges::sort(rules.digests.filter);
  rules.digests.ssh = hash(*rules.ssh);
  std::string capabilities;
  core::json::Writer json(capabilities);
  json.BeginObject();
  policy_.AddSelfCapabilities(viewer, json);
  rules.digests.capabilities = hash(capabilities);
  return rules;
}

core::SharedSlice MapBuilder::EncodedSource(const FilterSourcePtr& source, Encoding encoding) {
  EncodedList& list = sources_[source.get()];
  // Another one may have been at this address before.
  if (list.source.lock() != source) list = {.source = source, .forms = {}};
  core::SharedSlice& form = list.forms[static_cast<std::size_t>(encoding)];
  if (form.owner == nullptr) form = encoder_.Encode(encoding, source->text);
  if (sources_.size() > purge_sources_at_) {
    const core::SharedSlice kept = form;
    std::erase_if(sources_, [](const auto& entry) { return entry.second.source.expired(); });
    purge_sources_at_ = 2 * sources_.size() + 256;
    return kept;
  }
  return form;
}

void MapBuilder::AppendFilterEntry(MessageBuilder& message, const FilterEntry& entry) {
  message.text() += '"' + EntryName(entry.name) + "\":[";
  bool first = true;
  for (const FilterRuleText& rule : entry.rules) {
    message.text() += first ? "{\"SrcIPs\":" : ",{\"SrcIPs\":";
    first = false;
    if (rule.src->text.size() < kSharedSource) {
      message.text() += rule.src->text;
    } else {
      message.Shared(EncodedSource(rule.src, message.encoding()));
    }
    message.text() += rule.rest;
  }
  message.text() += ']';
}

void MapBuilder::AppendPolicyMessage(MessageBuilder& message, const Rules& rules,
                                     const RulesDigests& told) {
  const auto digest_in = [](const RulesDigests& digests, std::uint64_t name) {
    const auto at = std::ranges::lower_bound(digests.filter, name, {}, &EntryDigest::first);
    return at == digests.filter.end() || at->first != name ? std::nullopt
                                                           : std::optional(at->second);
  };
  std::vector<const FilterEntry*> news;
  for (const FilterEntry& entry : rules.filter) {
    if (digest_in(told, entry.name) != digest_in(rules.digests, entry.name)) news.push_back(&entry);
  }
  std::vector<std::uint64_t> gone;
  for (const auto& [name, digest] : told.filter) {
    if (!digest_in(rules.digests, name)) gone.push_back(name);
  }
  const bool ssh = rules.digests.ssh != told.ssh;
  if (news.empty() && gone.empty() && !ssh) return;
  message.text() += '{';
  if (!news.empty() || !gone.empty()) {
    message.text() += "\"PacketFilters\":{";
    bool first = true;
    for (const std::uint64_t name : gone) {
      if (!first) message.text() += ',';
      first = false;
      message.text() += '"' + EntryName(name) + "\":null";
    }
    for (const FilterEntry* entry : news) {
      if (!first) message.text() += ',';
      first = false;
      AppendFilterEntry(message, *entry);
    }
    message.text() += ssh ? "}," : "}";
  }
  if (ssh) message.text() += "\"SSHPolicy\":" + *rules.ssh;
  message.text() += '}';
  message.EndMessage();
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
                              Encoding encoding, core::WallTime now) {
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
  Rules rules = RulesOf(viewer);
  // A client that has no filter lets nothing in; the empty one says so.
  if (rules.filter.empty()) rules.filter.push_back({});
  text += "\"PacketFilters\":{";
  for (const FilterEntry& entry : rules.filter) {
    if (!text.ends_with('{')) text += ',';
    AppendFilterEntry(message, entry);
  }
  text += "},\"SSHPolicy\":" + *rules.ssh;
  last_rules_ = std::move(rules.digests);
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
    for (const auto& group : audience.groups()) {
      for (const auto& block : group->blocks) {
        if (block->members.empty() || only_viewer(*block)) continue;
        first = block.get();
        break;
      }
      if (first != nullptr) break;
    }
  }
  if (first == nullptr) {
    message.Text("}");
    message.EndMessage();
    return message.Take();
  }
  message.Text(",\"Peers\":[");
  AppendBlockInParts(message, *first, id, form);
  core::SliceList pieces;
  for (const auto& group : audience.groups()) {
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
  for (const auto& group : audience.groups()) {
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
