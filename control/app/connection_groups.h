// Connections grouped by what they share (a machine key, a source address), to
// bound how many each group has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace ringscale::control {

// Key: ordered. A tree, not a hash: strangers choose the keys.
template <class Key>
class ConnectionGroups {
 public:
  // Adds a connection. When its group is larger than `limit` then, the group's
  // oldest connection is returned, for the caller to close (and Remove).
  std::optional<std::uint64_t> Add(const Key& key, std::uint64_t id, std::size_t limit) {
    std::vector<std::uint64_t>& group = groups_[key];
    group.push_back(id);
    ++size_;
    if (group.size() <= limit) return std::nullopt;
    return group.front();
  }

  void Remove(const Key& key, std::uint64_t id) {
    const auto group = groups_.find(key);
    if (group == groups_.end()) return;
    size_ -= std::erase(group->second, id);
    if (group->second.empty()) groups_.erase(group);
  }

  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  std::map<Key, std::vector<std::uint64_t>> groups_;
  std::size_t size_ = 0;
};

}  // namespace ringscale::control
