// What nodes tell and whether they are there: map requests, streams, time.
#include <algorithm>

#include "control/state/registry.h"
#include "control/state/routes.h"
#include "core/base/keyed_hash.h"
#include "core/obs/log.h"

namespace ringscale::control {
namespace {

constexpr std::size_t kRowsPerLazyWrite = 1000;
constexpr core::Duration kStormRecheck = core::Seconds(1);
constexpr core::Duration kEphemeralRetry = core::Seconds(60);
// Civil time can be set: how far it may be off until that is noticed.
constexpr core::Duration kExpiryScanMax = core::Seconds(5);

std::uint64_t Digest(std::string_view text) {
  return core::KeyedHash(core::ProcessHashSecret(), core::AsBytes(text));
}

}  // namespace

// --- map requests ---

void Registry::ReportNode(NodeId id, NodeReport report, Completion<> done) {
  Node* const node = nodes_.Find(id);
  if (node == nullptr) {
    done(core::Fail(core::ErrorCode::kNotFound, "node not found"));
    return;
  }
  const std::uint64_t digest = report.hostinfo.empty() ? 0 : Digest(report.hostinfo);
  const bool new_hostinfo = digest != 0 && digest != node->hostinfo_digest;
  std::optional<Hostinfo> info;
  if (new_hostinfo) {
    auto parsed = ParseHostinfo(report.hostinfo);
    if (!parsed) {
      done(core::Forward(parsed));
      return;
    }
    info = std::move(*parsed);
  }
  node->row.last_seen = loop_.Wall();
  if (!report.streaming || !report.endpoints.empty()) {
    TakeEndpoints(*node, std::move(report.endpoints));
  }
  const bool new_disco = !report.disco_key.zero() && report.disco_key != node->row.disco_key;
  const bool new_version =
      report.capability_version != 0 && report.capability_version != node->row.capability_version;
  if (!new_hostinfo && !new_disco && !new_version) {
    done({});
    return;
  }
  queue_.Submit(
      {.machine = node->row.machine_key},
      [this, id, digest, info = std::move(info), disco_key = report.disco_key,
       version = report.capability_version](
          storage::WriteBatch& batch) mutable -> core::Result<Prepared> {
        const Node* current = FindNode(id);
        if (current == nullptr) return core::Fail(core::ErrorCode::kNotFound, "node not found");
        Draft draft{.row = current->row, .hostinfo = std::move(info), .hostinfo_digest = digest};
        bool durable = false;
        if (!disco_key.zero() && disco_key != draft.row.disco_key) {
          draft.row.disco_key = disco_key;
          durable = true;
        }
        if (version != 0 && version != draft.row.capability_version) {
          draft.row.capability_version = version;
          durable = true;
        }
        if (draft.hostinfo) {
          if (auto stored = ParseStoredHostinfo(current->row.hostinfo)) {
            draft.hostinfo->KeepNetInfo(*stored);
            durable |= stored->base != draft.hostinfo->base;
          }
          draft.row.hostinfo = draft.hostinfo->Merged();
          draft.row.hostname = draft.hostinfo->hostname;
          FollowHostname(current->row, draft.row);
        }
        draft.lazily = !durable;
        return PrepareUpdate(*current, std::move(draft), batch);
      },
      std::move(done));
}

void Registry::TakeEndpoints(Node& node, std::vector<Endpoint> endpoints) {
  if (node.endpoints == endpoints) return;
  // Peers try addresses until one answers: what is new helps them (also what STUN
  // found: a node behind a NAT may have nothing else), what is gone does not.
  const bool worth_telling = std::ranges::any_of(endpoints, [&](const Endpoint& endpoint) {
    return !std::ranges::any_of(
        node.endpoints, [&](const Endpoint& old) { return old.address == endpoint.address; });
  });
  node.endpoints = std::move(endpoints);
  Announce(node, {.kind = worth_telling ? Change::Kind::kNodePatched : Change::Kind::kNodeRefreshed,
                  .fields = Change::kEndpoints});
}

// --- presence ---

void Registry::StreamOpened(NodeId id) {
  Node* const node = nodes_.Find(id);
  if (node == nullptr) return;
  if (node->live_streams++ > 0) return;
  node->stream_since = loop_.Now();
  deadlines_.Clear(DeadlineKind::kOffline, id);
  deadlines_.Clear(DeadlineKind::kEphemeral, id);
  if (!node->row.ever_polled) {
    node->row.ever_polled = true;
    MarkDirty(id);
  }
  node->row.last_seen = loop_.Wall();
  if (node->online) return;
  node->online = true;
  MarkDirty(id);
  Announce(*node, {.kind = Change::Kind::kNodePatched, .fields = Change::kOnline});
}

void Registry::StreamClosed(NodeId id) {
  Node* const node = nodes_.Find(id);
  if (node == nullptr || node->live_streams == 0) return;
  if (--node->live_streams > 0) return;
  node->stream_since.reset();
  node->row.last_seen = loop_.Wall();
  SetDeadline(DeadlineKind::kOffline, id, options_.offline_grace);
}

void Registry::SetRelayConnected(const core::NodePublic& key, bool connected) {
  const Node* const node = nodes_.FindByKey(key);
  if (node != nullptr) nodes_.Find(node->row.id)->relay_connected = connected;
}

void Registry::SetResponsive(NodeId id, bool responsive) {
  Node* const node = nodes_.Find(id);
  if (node == nullptr || node->unresponsive != responsive) return;
  node->unresponsive = !responsive;
  Announce(*node, {.kind = Change::Kind::kNodeRefreshed, .fields = Change::kOnline});
}

void Registry::GoOffline(Node& node) {
  node.online = false;
  node.unresponsive = false;
  MarkDirty(node.row.id);
  if (node.row.ephemeral) {
    const core::Duration left = options_.ephemeral_timeout - options_.offline_grace;
    SetDeadline(DeadlineKind::kEphemeral, node.row.id, std::max(left, core::Duration{}));
  }
  Announce(node,
           {.kind = Change::Kind::kNodePatched, .fields = Change::kOnline | Change::kLastSeen});
}

void Registry::CollectEphemeral(NodeId id) {
  const Node* const node = FindNode(id);
  if (node == nullptr || !node->row.ephemeral || node->online) return;
  core::LogInfo("state", "ephemeral node was away too long and is removed",
                {{"node", id}, {"name", node->row.given_name}});
  DeleteNode(id, [this, id](core::Result<> result) {
    if (!result && FindNode(id) != nullptr) {
      SetDeadline(DeadlineKind::kEphemeral, id, kEphemeralRetry);
    }
  });
}

// --- expiry ---

void Registry::TrackExpiry(NodeId id, const std::optional<core::WallTime>& before,
                           const std::optional<core::WallTime>& after) {
  if (before) expiries_.erase({*before, id});
  const core::WallTime now = loop_.Wall();
  if (!after || *after <= now) return;
  expiries_.emplace(*after, id);
  if (expiries_.begin()->second == id) {
    SetDeadline(DeadlineKind::kExpiryScan, 0, std::min(*after - now, kExpiryScanMax));
  }
}

void Registry::ScanExpiry() {
  const core::WallTime now = loop_.Wall();
  while (!expiries_.empty() && expiries_.begin()->first <= now) {
    const NodeId id = expiries_.begin()->second;
    expiries_.erase(expiries_.begin());
    Announce(*nodes_.Find(id),
             {.kind = Change::Kind::kNodePatched, .fields = Change::kKeyExpiry, .self_too = true});
  }
  if (expiries_.empty()) return;
  SetDeadline(DeadlineKind::kExpiryScan, 0,
              std::min(expiries_.begin()->first - now, kExpiryScanMax));
}

// --- what is written without hurry ---

void Registry::MarkDirty(NodeId id) {
  dirty_.insert(id);
  if (!deadlines_.Has(DeadlineKind::kLazyWrite, 0)) {
    SetDeadline(DeadlineKind::kLazyWrite, 0, options_.lazy_write_interval);
  }
}

void Registry::MarkPrimaryMoved(NodeId id) {
  MarkDirty(id);
  SetDeadline(DeadlineKind::kLazyWrite, 0, core::Duration{});
}

void Registry::WriteLazily() {
  std::vector<NodeId> ready;
  for (const NodeId id : dirty_) {
    // A row on its way would be overwritten by what it was before.
    if (!queue_.Busy(FindNode(id)->row.machine_key)) ready.push_back(id);
  }
  for (std::size_t first = 0; first < ready.size(); first += kRowsPerLazyWrite) {
    const std::size_t last = std::min(first + kRowsPerLazyWrite, ready.size());
    auto ids = std::make_shared<std::vector<NodeId>>();
    for (std::size_t i = first; i < last; ++i) ids->push_back(ready[i]);
    queue_.Submit(
        {},
        [this, ids](storage::WriteBatch& batch) -> core::Result<Prepared> {
          std::erase_if(*ids, [this](NodeId id) {
            const Node* node = FindNode(id);
            return node == nullptr || queue_.Busy(node->row.machine_key);
          });
          for (const NodeId id : *ids) {
            const Node* node = FindNode(id);
            PutNode(batch, node->row, node->online);
            dirty_.erase(id);
          }
          return Prepared{.apply = [] {}, .drop = {}};
        },
        [this, ids](core::Result<> result) {
          if (result) return;
          core::LogWarn("state", "presence of nodes could not be written",
                        {{"error", result.error().message}});
          for (const NodeId id : *ids) {
            if (FindNode(id) != nullptr) MarkDirty(id);
          }
        });
  }
  if (!dirty_.empty() && !deadlines_.Has(DeadlineKind::kLazyWrite, 0)) {
    SetDeadline(DeadlineKind::kLazyWrite, 0, options_.lazy_write_interval);
  }
}

void Registry::Flush(Completion<> done) {
  WriteLazily();
  queue_.WhenIdle([this, done = std::move(done)]() mutable {
    // Nodes that a change held up.
    WriteLazily();
    queue_.WhenIdle([this, done = std::move(done)]() mutable {
      if (dirty_.empty()) {
        done({});
      } else {
        done(core::Fail(core::ErrorCode::kIo, "presence of nodes could not be written"));
      }
    });
  });
}

// --- time ---

void Registry::SetDeadline(DeadlineKind kind, NodeId id, core::Duration from_now) {
  deadlines_.Set(kind, id, loop_.Now() + from_now);
  ArmTimer();
}

void Registry::ArmTimer() {
  const auto next = deadlines_.Next();
  if (!next || (timer_at_ && *timer_at_ <= *next)) return;
  if (timer_at_) loop_.CancelTimer(timer_);
  timer_at_ = next;
  timer_ = loop_.After(std::max(*next - loop_.Now(), core::Duration{}), [this] { OnTimer(); });
}

void Registry::OnTimer() {
  timer_at_.reset();
  timer_ = {};
  const core::Instant now = loop_.Now();
  while (const auto due = deadlines_.TakeDue(now)) OnDeadline(*due);
  ArmTimer();
}

void Registry::OnDeadline(Deadlines::Due due) {
  switch (due.kind) {
    case DeadlineKind::kOffline: {
      Node* const node = nodes_.Find(due.node);
      if (node == nullptr || !node->online || node->live_streams > 0) return;
      if (storm_draining_ && storm_draining_()) {
        SetDeadline(DeadlineKind::kOffline, due.node, kStormRecheck);
      } else {
        GoOffline(*node);
      }
      return;
    }
    case DeadlineKind::kEphemeral:
      CollectEphemeral(due.node);
      return;
    case DeadlineKind::kExpiryScan:
      ScanExpiry();
      return;
    case DeadlineKind::kLazyWrite:
      WriteLazily();
      return;
  }
}

}  // namespace ringscale::control
