#include "relay/route/source_tracker.h"

namespace ringscale::relay {

bool SourceTracker::Note(std::uint32_t source, std::uint32_t connection, std::uint32_t& source_head,
                         std::uint32_t& connection_head) {
  const std::uint64_t hash = Hash(source, connection);
  const std::uint32_t known = index_.Find(hash, [&](std::uint32_t at) {
    return pairs_[at].source == source && pairs_[at].connection == connection;
  });
  if (known != KeyIndex::kNone) return true;
  if (index_.size() >= limit_) return false;
  std::uint32_t at;
  if (free_.empty()) {
    at = static_cast<std::uint32_t>(pairs_.size());
    pairs_.emplace_back();
  } else {
    at = free_.back();
    free_.pop_back();
  }
  pairs_[at] = {source, connection, source_head, kNone, connection_head, kNone};
  if (source_head != kNone) pairs_[source_head].previous_of_source = at;
  if (connection_head != kNone) pairs_[connection_head].previous_of_connection = at;
  source_head = connection_head = at;
  index_.Insert(hash, at);
  return true;
}

void SourceTracker::Forget(std::uint32_t at, std::uint32_t& source_head,
                           std::uint32_t& connection_head) {
  const Pair pair = pairs_[at];
  if (pair.previous_of_source != kNone) {
    pairs_[pair.previous_of_source].next_of_source = pair.next_of_source;
  } else {
    source_head = pair.next_of_source;
  }
  if (pair.next_of_source != kNone) {
    pairs_[pair.next_of_source].previous_of_source = pair.previous_of_source;
  }
  if (pair.previous_of_connection != kNone) {
    pairs_[pair.previous_of_connection].next_of_connection = pair.next_of_connection;
  } else {
    connection_head = pair.next_of_connection;
  }
  if (pair.next_of_connection != kNone) {
    pairs_[pair.next_of_connection].previous_of_connection = pair.previous_of_connection;
  }
  index_.Erase(Hash(pair.source, pair.connection), at);
  free_.push_back(at);
}

}  // namespace ringscale::relay
