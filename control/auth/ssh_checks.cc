#include "control/auth/ssh_checks.h"

#include <algorithm>
#include <utility>

#include "control/state/secrets.h"
#include "core/json/writer.h"
#include "core/obs/log.h"

namespace ringscale::control {
namespace {

// Unix user names are shorter; this one is shown to people.
constexpr std::size_t kLocalUserMax = 64;

std::string RejectAction(std::string_view message) {
  std::string out;
  core::json::Writer json(out);
  json.BeginObject().Field("message", "# " + std::string(message) + "\n").Field("reject", true);
  json.EndObject();
  return out;
}

std::string HoldAction(std::string_view id, std::string_view page) {
  std::string out;
  core::json::Writer json(out);
  json.BeginObject();
  json.Field("message", "# This SSH session needs an approval. Open\n#   " + std::string(page) +
                            "\n# and follow the page; the session then goes on by itself.\n");
  json.Field("holdAndDelegate", std::string(policy::kNoiseBaseUrl) +
                                    std::string(policy::kSshActionPath) +
                                    "&auth_id=" + std::string(id));
  json.EndObject();
  return out;
}

}  // namespace

SshChecks::SshChecks(core::engine::Loop& loop, Registry& registry, RuleFor rule_for,
                     SshCheckLimits limits)
    : loop_(loop), registry_(registry), rule_for_(std::move(rule_for)), limits_(limits) {}

SshChecks::~SshChecks() {
  if (timer_armed_) loop_.CancelTimer(timer_);
}

SshChecks::Ticket SshChecks::Handle(Session session, Reply reply) {
  const Ticket ticket = next_ticket_++;
  const Node* const source = registry_.FindNode(session.source);
  if (source == nullptr || registry_.FindNode(session.destination) == nullptr) {
    reply(RejectAction("The device that asks to log in is not known (any more)."));
    return ticket;
  }
  session.local_user.resize(std::min(session.local_user.size(), kLocalUserMax));
  const auto rule = rule_for_(session.source, session.destination, session.local_user);
  if (!rule) {
    reply(RejectAction("The policy has changed meanwhile; try again."));
    return ticket;
  }
  const UserId owner = source->tagged() ? 0 : source->row.user_id;
  if (registry_.SshApproved(session.destination, {.source = session.source, .owner = owner},
                            rule->period)) {
    reply(rule->approved_action);
    return ticket;
  }
  const auto told = checks_.find(session.auth_id);
  const bool its_own = told != checks_.end() && told->second.owner == owner &&
                       told->second.pending.source == session.source &&
                       told->second.pending.destination == session.destination &&
                       told->second.pending.local_user == session.local_user;
  if (!its_own) {
    // New, expired, or of a server that ran before.
    reply(Begin(session, owner));
  } else if (told->second.verdict) {
    std::string outcome = Outcome(told->second, *told->second.verdict);
    checks_.erase(told);
    reply(std::move(outcome));
  } else {
    Hold(told->second, ticket, std::move(reply));
  }
  return ticket;
}

void SshChecks::Cancel(Ticket ticket) {
  for (auto& [id, check] : checks_) {
    std::erase_if(check.held, [ticket](const Held& held) { return held.ticket == ticket; });
  }
}

void SshChecks::Hold(Check& check, Ticket ticket, Reply reply) {
  std::optional<Held> oldest;
  if (check.held.size() >= limits_.held) {
    oldest = std::move(check.held.front());
    check.held.erase(check.held.begin());
  }
  check.held.push_back({.ticket = ticket, .reply = std::move(reply)});
  if (oldest) oldest->reply(RejectAction("Too many sessions wait for this approval."));
}

std::string SshChecks::Begin(const Session& session, UserId owner) {
  // Sessions between the same two wait for one approval.
  for (const auto& [id, check] : checks_) {
    if (!check.verdict && check.owner == owner && check.pending.source == session.source &&
        check.pending.destination == session.destination &&
        check.pending.local_user == session.local_user) {
      return HoldAction(id, session.page_url(id));
    }
  }
  MakeRoom(session);
  const std::string id = NewAuthId(registry_.options().random);
  checks_.emplace(id, Check{.pending = {.source = session.source,
                                        .destination = session.destination,
                                        .local_user = session.local_user,
                                        .created = loop_.Now()},
                            .owner = owner,
                            .verdict = {},
                            .held = {}});
  ArmTimer();
  return HoldAction(id, session.page_url(id));
}

void SshChecks::MakeRoom(const Session& session) {
  // One of a crowded node has to go rather than one of everybody's.
  const auto make_room = [this](std::size_t limit, auto concerns) {
    std::size_t count = 0;
    auto oldest = checks_.end();
    for (auto it = checks_.begin(); it != checks_.end(); ++it) {
      if (!concerns(it->second.pending)) continue;
      ++count;
      if (oldest == checks_.end() || it->second.pending.created < oldest->second.pending.created) {
        oldest = it;
      }
    }
    if (count >= limit && oldest != checks_.end()) {
      Drop(oldest, "Too many SSH sessions wait for an approval.");
    }
  };
  make_room(limits_.per_source, [&](const Pending& p) { return p.source == session.source; });
  make_room(limits_.per_destination,
            [&](const Pending& p) { return p.destination == session.destination; });
  make_room(limits_.total, [](const Pending&) { return true; });
}

void SshChecks::Drop(Checks::iterator at, std::string_view why) {
  auto held = std::move(at->second.held);
  checks_.erase(at);
  for (Held& waiting : held) waiting.reply(RejectAction(why));
}

// --- decisions ---

const SshChecks::Pending* SshChecks::Find(std::string_view auth_id) const {
  const auto it = checks_.find(auth_id);
  return it == checks_.end() || it->second.verdict ? nullptr : &it->second.pending;
}

core::Result<> SshChecks::Decide(std::string_view auth_id, bool approve) {
  const auto it = checks_.find(auth_id);
  if (it == checks_.end() || it->second.verdict) {
    return core::Fail(core::ErrorCode::kNotFound, "no pending auth session");
  }
  Check& check = it->second;
  core::LogInfo("auth", approve ? "SSH check approved" : "SSH check rejected",
                {{"source", check.pending.source},
                 {"destination", check.pending.destination},
                 {"local_user", check.pending.local_user}});
  if (approve) {
    registry_.NoteSshApproval(check.pending.destination,
                              {.source = check.pending.source, .owner = check.owner});
  }
  check.verdict = approve;
  if (check.held.empty()) return {};
  const std::string outcome = Outcome(check, approve);
  auto held = std::move(check.held);
  checks_.erase(it);
  for (Held& waiting : held) waiting.reply(outcome);
  return {};
}

std::string SshChecks::Outcome(const Check& check, bool approved) const {
  if (!approved) return RejectAction("This SSH session was rejected.");
  const Node* const source = registry_.FindNode(check.pending.source);
  const UserId owner = source == nullptr || source->tagged() ? 0 : source->row.user_id;
  auto rule = rule_for_(check.pending.source, check.pending.destination, check.pending.local_user);
  if (source == nullptr || owner != check.owner || !rule) {
    return RejectAction("The policy has changed meanwhile; try again.");
  }
  return std::move(rule->approved_action);
}

// --- time ---

void SshChecks::ArmTimer() {
  if (timer_armed_ || checks_.empty()) return;
  const auto oldest = std::ranges::min_element(
      checks_, {}, [](const auto& entry) { return entry.second.pending.created; });
  timer_armed_ = true;
  timer_ = loop_.After(
      std::max(oldest->second.pending.created + limits_.lifetime - loop_.Now(), core::Duration{}),
      [this] { OnTimer(); });
}

void SshChecks::OnTimer() {
  timer_armed_ = false;
  const core::Instant now = loop_.Now();
  while (true) {
    const auto expired = std::ranges::find_if(checks_, [&](const auto& entry) {
      return now - entry.second.pending.created >= limits_.lifetime;
    });
    if (expired == checks_.end()) break;
    Drop(expired, "Nobody approved this SSH session in time.");
  }
  ArmTimer();
}

}  // namespace ringscale::control
