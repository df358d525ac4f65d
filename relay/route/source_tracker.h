// Who has received packets from whom: when a key leaves, every connection that
// got a packet from it is told (PeerGone, Disconnected). A pair lives until one
// of its sides goes. Pairs are found per source and per receiving connection.
//
// Bounded: beyond the limit new pairs are not remembered (those clients are not
// told and find out by themselves).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "relay/route/key_index.h"

namespace ringscale::relay {

class SourceTracker {
 public:
  static constexpr std::uint32_t kNone = 0xffffffffu;

  explicit SourceTracker(std::size_t limit) : limit_(limit) {}

  // Remembers that `connection` received from `source`; the heads are fields of
  // the source's peer and of the connection. False when the limit is reached.
  bool Note(std::uint32_t source, std::uint32_t connection, std::uint32_t& source_head,
            std::uint32_t& connection_head);

  // The source left: calls `fn(connection)` for each receiver and forgets the
  // pairs. `connection_head(connection)` gives the receiver's list head.
  template <class Head, class Fn>
  void TakeSource(std::uint32_t& source_head, Head&& connection_head, Fn&& fn) {
    while (source_head != kNone) {
      const std::uint32_t at = source_head;
      const std::uint32_t connection = pairs_[at].connection;
      Forget(at, source_head, connection_head(connection));
      fn(connection);
    }
  }

  // The connection closed: forgets its pairs. `source_head(source)` gives the
  // source's list head.
  template <class Head>
  void TakeConnection(std::uint32_t& connection_head, Head&& source_head) {
    while (connection_head != kNone) {
      const std::uint32_t at = connection_head;
      Forget(at, source_head(pairs_[at].source), connection_head);
    }
  }

  [[nodiscard]] std::size_t size() const { return index_.size(); }

 private:
  struct Pair {
    std::uint32_t source;
    std::uint32_t connection;
    std::uint32_t next_of_source;
    std::uint32_t previous_of_source;
    std::uint32_t next_of_connection;
    std::uint32_t previous_of_connection;
  };

  // Both are small numbers of ours, but which of them meet is chosen by clients.
  static std::uint64_t Hash(std::uint32_t source, std::uint32_t connection) {
    std::uint64_t x = static_cast<std::uint64_t>(source) << 32 | connection;
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ull;
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ull;
    return x ^ (x >> 32);
  }
  void Forget(std::uint32_t at, std::uint32_t& source_head, std::uint32_t& connection_head);

  std::size_t limit_;
  KeyIndex index_;
  std::vector<Pair> pairs_;
  std::vector<std::uint32_t> free_;
};

}  // namespace ringscale::relay
