// Several connections of one key. The policy is derper's: all stay open, the one
// that spoke last is active and gets the packets. When the active one leaves, the
// one that spoke most recently before it takes over; if none of the others has
// spoken, nobody is active until one does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ringscale::relay {

class DuplicateSet {
 public:
  static constexpr std::uint32_t kNone = 0xffffffffu;

  // A second connection joins the first.
  DuplicateSet(std::uint32_t first, std::uint32_t second);

  // A third or later one joins and becomes active.
  void Add(std::uint32_t connection);
  // A frame came from a member: it becomes active.
  void Spoke(std::uint32_t connection);
  // A member left. With one member left the set has done its work.
  void Remove(std::uint32_t connection);

  [[nodiscard]] std::uint32_t active() const { return active_; }
  [[nodiscard]] const std::vector<std::uint32_t>& members() const { return members_; }

 private:
  std::vector<std::uint32_t> members_;  // in order of arrival
  // Who spoke, the latest last, everybody at most once.
  std::vector<std::uint32_t> history_;
  std::uint32_t active_;
};

}  // namespace ringscale::relay
