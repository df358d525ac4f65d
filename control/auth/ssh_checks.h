// Tailscale SSH sessions that wait for an approval: the `check` rules of the policy,
// answered by hold and delegate (tailcfg.SSHAction). The destination asks what to do
// with a session; it is told where its user finds somebody who approves, asks again
// and is held until that has happened.
//
// The registry remembers approvals for the rule's checkPeriod, per source and
// destination. Control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/policy/engine.h"
#include "control/state/registry.h"
#include "core/engine/loop.h"

namespace ringscale::control {

struct SshCheckLimits {
  std::size_t total = 1024;  // undecided; the oldest goes
  std::size_t per_source = 16;
  std::size_t per_destination = 128;
  std::size_t held = 16;                             // sessions waiting for the same approval
  core::Duration lifetime = core::Seconds(15 * 60);  // to decide
};

class SshChecks {
 public:
  // The check rule for this login, if there is one.
  using RuleFor = std::function<std::optional<policy::SshCheck>(NodeId source, NodeId destination,
                                                                std::string_view local_user)>;
  struct Session {
    NodeId source = 0;
    NodeId destination = 0;  // who asks; the caller has checked that
    std::string local_user;
    std::string auth_id;  // of the check that it was told of, or empty
    std::function<std::string(std::string_view auth_id)> page_url;
  };
  // A check that is not decided.
  struct Pending {
    NodeId source = 0;
    NodeId destination = 0;
    std::string local_user;
    core::Instant created;
  };
  using Reply = std::move_only_function<void(std::string action)>;  // tailcfg.SSHAction
  using Ticket = std::uint64_t;

  // `registry` must outlive this.
  SshChecks(core::engine::Loop& loop, Registry& registry, RuleFor rule_for,
            SshCheckLimits limits = {});
  ~SshChecks();
  SshChecks(const SshChecks&) = delete;
  SshChecks& operator=(const SshChecks&) = delete;

  // `reply` is called once, possibly before this returns, unless it is cancelled.
  Ticket Handle(Session session, Reply reply);
  // The client has gone. Unknown tickets are ignored.
  void Cancel(Ticket ticket);

  // --- for pages and operators ---
  [[nodiscard]] const Pending* Find(std::string_view auth_id) const;
  // kNotFound: there is no such check (any more).
  core::Result<> Approve(std::string_view auth_id) { return Decide(auth_id, true); }
  core::Result<> Reject(std::string_view auth_id) { return Decide(auth_id, false); }
  [[nodiscard]] core::Duration lifetime() const { return limits_.lifetime; }

 private:
  struct Held {
    Ticket ticket = 0;
    Reply reply;
  };
  struct Check {
    Pending pending;
    UserId owner = 0;             // of the source, when it began
    std::optional<bool> verdict;  // given while nobody was held: told at the next request
    std::vector<Held> held;
  };
  using Checks = std::map<std::string, Check, std::less<>>;

  core::Result<> Decide(std::string_view auth_id, bool approve);
  void Hold(Check& check, Ticket ticket, Reply reply);
  // What a decided check means for its sessions now.
  [[nodiscard]] std::string Outcome(const Check& check, bool approved) const;
  [[nodiscard]] std::string Begin(const Session& session, UserId owner);
  void MakeRoom(const Session& session);
  void Drop(Checks::iterator at, std::string_view why);
  void ArmTimer();
  void OnTimer();

  core::engine::Loop& loop_;
  Registry& registry_;
  const RuleFor rule_for_;
  const SshCheckLimits limits_;
  Checks checks_;  // by id
  Ticket next_ticket_ = 1;
  core::engine::TimerId timer_;
  bool timer_armed_ = false;
};

}  // namespace ringscale::control
