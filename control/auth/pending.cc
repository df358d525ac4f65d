#include "control/auth/pending.h"

#include <algorithm>

namespace ringscale::control {

core::IpAddress SourceOf(const core::IpAddress& ip) {
  return ip.is_v6() ? core::IpPrefix{ip, 64}.Masked().address : ip;
}

std::optional<PendingLogin> PendingLogins::Add(PendingLogin login) {
  std::optional<PendingLogin> evicted;
  const auto count = per_source_.find(login.source);
  const std::size_t of_source = count == per_source_.end() ? 0 : count->second;
  if (of_source >= limits_.per_source || (by_id_.size() >= limits_.total && of_source > 0)) {
    evicted = Take(OldestOf(login.source));
  } else if (by_id_.size() >= limits_.total) {
    evicted = Take(order_.begin());
  }
  ++per_source_[login.source];
  by_age_.emplace(login.created, login.id);
  order_.push_back(std::move(login));
  by_id_.emplace(order_.back().id, std::prev(order_.end()));
  return evicted;
}

PendingLogin* PendingLogins::Use(std::string_view id) {
  const auto it = by_id_.find(id);
  if (it == by_id_.end()) return nullptr;
  order_.splice(order_.end(), order_, it->second);
  return &*it->second;
}

const PendingLogin* PendingLogins::Find(std::string_view id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &*it->second;
}

PendingLogin* PendingLogins::UseByKeys(const core::MachinePublic& machine,
                                       const core::NodePublic& node) {
  const auto it = std::find_if(order_.rbegin(), order_.rend(), [&](const PendingLogin& login) {
    return login.request.machine_key == machine && login.request.node_key == node;
  });
  return it == order_.rend() ? nullptr : Use(it->id);
}

const PendingLogin* PendingLogins::FindByKeyText(std::string_view text) const {
  const auto machine = core::MachinePublic::Parse(text);
  const auto node = core::NodePublic::Parse(text);
  if (!machine && !node) return nullptr;
  const auto it = std::find_if(order_.rbegin(), order_.rend(), [&](const PendingLogin& login) {
    return machine ? login.request.machine_key == *machine : login.request.node_key == *node;
  });
  return it == order_.rend() ? nullptr : &*it;
}

std::optional<PendingLogin> PendingLogins::Remove(std::string_view id) {
  const auto it = by_id_.find(id);
  if (it == by_id_.end()) return std::nullopt;
  return Take(it->second);
}

std::optional<core::Instant> PendingLogins::NextExpiry() const {
  if (by_age_.empty()) return std::nullopt;
  return by_age_.begin()->first + limits_.lifetime;
}

std::optional<PendingLogin> PendingLogins::TakeExpired(core::Instant now) {
  const auto next = NextExpiry();
  if (!next || *next > now) return std::nullopt;
  return Remove(std::string(by_age_.begin()->second));
}

PendingLogins::Order::iterator PendingLogins::OldestOf(const core::IpAddress& source) {
  return std::ranges::find_if(order_, [&](const PendingLogin& l) { return l.source == source; });
}

PendingLogin PendingLogins::Take(Order::iterator at) {
  const auto count = per_source_.find(at->source);
  if (--count->second == 0) per_source_.erase(count);
  by_age_.erase({at->created, at->id});
  by_id_.erase(at->id);
  PendingLogin login = std::move(*at);
  order_.erase(at);
  return login;
}

}  // namespace ringscale::control
