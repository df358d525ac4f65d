// What the viewers of one audience missed since a position, as the smallest
// message that says it (tailcfg.MapResponse with PeersChanged, PeersRemoved,
// PeersChangedPatch and UserProfiles).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "control/map/audience.h"
#include "control/map/encoder.h"
#include "control/map/message.h"
#include "control/map/peer_index.h"

namespace ringscale::control {

// Pointers in it are valid until the index changes.
struct Difference {
  std::vector<NodeId> removed;                           // known before
  std::vector<Peer*> changed;                            // new, or not told by a patch
  std::vector<std::pair<Peer*, std::uint16_t>> patched;  // fields that changed
  std::vector<UserId> users;                             // new or changed profiles
  [[nodiscard]] bool empty() const {
    return removed.empty() && changed.empty() && patched.empty() && users.empty();
  }
};

// For viewers of the audience `now` who were told of everything as viewers of `told`,
// which is mostly the same, up to `from`.
[[nodiscard]] Difference CollectDifference(PeerIndex& index, Audience& told, Audience& now,
                                           Sequence from);

// One delta, made once for all viewers who know the same.
class SharedDelta {
 public:
  SharedDelta(PeerIndex& index, AudiencePtr told, AudiencePtr now, Encoder& encoder,
              Encoding encoding, Sequence from);

  // For one viewer; null when there is nothing to say to it. To be called before
  // the index changes. Viewers that are not among the changed peers share one output.
  [[nodiscard]] OutputPtr For(NodeId viewer);
  // Up to where it brings its viewers.
  [[nodiscard]] Sequence to() const { return to_; }

  // So much that not everybody should be sent it at once.
  [[nodiscard]] bool large() const;
  // More than half of all peers: a full map, of shared blocks, says it in less.
  [[nodiscard]] bool worth_a_map() const;
  [[nodiscard]] std::size_t changed() const { return difference_.changed.size(); }
  [[nodiscard]] std::size_t patched() const { return difference_.patched.size(); }
  [[nodiscard]] std::size_t removed() const { return difference_.removed.size(); }

 private:
  void AppendHead(std::string& out) const;
  // Elements [first, last) of `changed` without the viewer.
  void AppendChanged(std::string& out, std::size_t first, std::size_t last, NodeId viewer) const;
  [[nodiscard]] OutputPtr Make(NodeId viewer);

  PeerIndex& index_;
  const AudiencePtr told_;  // kept while this can be found by its address
  const AudiencePtr audience_;
  Encoder& encoder_;
  const Encoding encoding_;
  const Sequence to_;
  Difference difference_;
  std::vector<core::SharedSlice> chunks_;  // of `changed`, when there are many
  OutputPtr shared_;
};

}  // namespace ringscale::control
