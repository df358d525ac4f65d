// SSH sessions that somebody approved: remembered with the node they lead to, so
// that a restart does not ask again.
#include <algorithm>

#include "control/state/registry.h"

namespace ringscale::control {

void Registry::NoteSshApproval(NodeId destination, const SshPair& pair) {
  if (FindNode(destination) == nullptr) return;
  auto& approvals = ssh_approvals_[destination];
  const core::WallTime now = loop_.Wall();
  std::erase_if(approvals,
                [&](const auto& entry) { return now - entry.second >= kSshApprovalMax; });
  if (approvals.size() >= kKeptSshApprovals && !approvals.contains(pair)) {
    approvals.erase(
        std::ranges::min_element(approvals, {}, [](const auto& entry) { return entry.second; }));
  }
  approvals.insert_or_assign(pair, now);
  MarkDirty(destination);
  // Whoever was just asked should not be asked again because the server died.
  SetDeadline(DeadlineKind::kLazyWrite, 0, core::Duration{});
}

bool Registry::SshApproved(NodeId destination, const SshPair& pair, core::Duration period) const {
  const auto node = ssh_approvals_.find(destination);
  if (node == ssh_approvals_.end()) return false;
  const auto at = node->second.find(pair);
  if (at == node->second.end()) return false;
  // The clock may have been set back.
  const core::Duration age = loop_.Wall() - at->second;
  return age.ns >= 0 && age < period;
}

std::vector<storage::SshApproval> Registry::SshApprovalsOf(NodeId destination) const {
  std::vector<storage::SshApproval> out;
  const auto node = ssh_approvals_.find(destination);
  if (node == ssh_approvals_.end()) return out;
  for (const auto& [pair, at] : node->second) {
    out.push_back({.source = pair.source, .owner = pair.owner, .at = at});
  }
  return out;
}

void Registry::RestoreSshApprovals(NodeId destination,
                                   const std::vector<storage::SshApproval>& approvals) {
  for (const auto& approval : approvals) {
    ssh_approvals_[destination].insert_or_assign(
        SshPair{.source = approval.source, .owner = approval.owner}, approval.at);
  }
}

}  // namespace ringscale::control
