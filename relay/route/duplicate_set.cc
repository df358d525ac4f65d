#include "relay/route/duplicate_set.h"

#include <algorithm>

namespace ringscale::relay {

DuplicateSet::DuplicateSet(std::uint32_t first, std::uint32_t second)
    : members_{first, second}, history_{first}, active_(second) {}

void DuplicateSet::Add(std::uint32_t connection) {
  members_.push_back(connection);
  history_.push_back(connection);
  active_ = connection;
}

void DuplicateSet::Spoke(std::uint32_t connection) {
  active_ = connection;
  if (!history_.empty() && history_.back() == connection) return;
  std::erase(history_, connection);
  history_.push_back(connection);
}

void DuplicateSet::Remove(std::uint32_t connection) {
  std::erase(members_, connection);
  std::erase(history_, connection);
  if (active_ == connection) active_ = history_.empty() ? kNone : history_.back();
}

}  // namespace ringscale::relay
