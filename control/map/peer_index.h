// Every node as a peer: its rendered JSON, the compressed block it shares with
// others, and when what of it changed last. There is no log of changes and no
// queue per stream: a position (sequence number) is all a stream holds, and what
// it misses is read off the order in which nodes changed last. So changes of one
// node are merged by themselves, and memory grows with nodes, never with changes
// or streams.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "control/map/encoder.h"
#include "control/map/map_source.h"
#include "control/policy/policy.h"
#include "control/state/types.h"
#include "core/base/slices.h"

namespace ringscale::control {

// Counts changes; 0 = before everything.
using Sequence = std::uint64_t;

inline constexpr std::size_t kBlockPeers = 128;
// A viewer's own block is sent in pieces, so that only a small one is made anew
// without the viewer.
inline constexpr std::size_t kSubBlockPeers = 16;

struct Peer;

// Changes that need not remake a block at once: a viewer may get the block as it
// was, with a patch right behind it that clients apply without rebuilding their map.
inline constexpr std::uint16_t kLatePatchFields =
    Change::kEndpoints | Change::kHomeDerp | Change::kOnline | Change::kLastSeen;
// Members of a block that may be so. While 10,000 nodes reconnect, each one changes
// a peer of some block: patches of up to 8 in 128 cost 1.5 % more bytes, remaking a
// block for each change six times the processor time of the patches.
inline constexpr std::size_t kLatePatches = 8;
// A block that is made anew after fewer maps than this is restless: its parts cost
// some 3 kB more per map, making all of it some 0.3 ms of processor time.
inline constexpr std::uint32_t kRestlessUses = 32;

// Peers of one class whose JSON is compressed together. Pieces are made when first
// needed and again after a member changed.
struct Block {
  struct Piece {
    std::array<core::SharedSlice, kPeerForms> forms;  // empty = to be made
    void Forget() { forms = {}; }
    [[nodiscard]] bool made() const {
      return std::ranges::any_of(forms, [](const auto& form) { return form.owner != nullptr; });
    }
  };
  std::vector<Peer*> members;
  Piece whole;                                            // ",{...},{...}"
  std::vector<Peer*> late;                                // changed since `whole` was made
  Piece patches;                                          // of those: "{...},{...}"
  std::array<Piece, kBlockPeers / kSubBlockPeers> parts;  // ",{...}"; always as of now
  // Maps it went into since `whole` was last forgotten. While those are few (many
  // nodes join and report) it is sent in parts, of which only the changed one is made
  // anew.
  std::uint32_t uses = 0;
  bool restless = false;
};

// The peers of one PeerClass.
struct PeerGroup {
  struct UserRef {
    std::size_t nodes = 0;
    Sequence since = 0;  // when it came from no nodes to one, last
  };
  PeerClass id = 0;
  std::uint64_t created = 0;  // PeerIndex::groups_version then
  bool dropped = false;       // had no nodes; one of the same class would be another group
  std::vector<std::unique_ptr<Block>> blocks;
  std::map<UserId, UserRef> users;
  std::size_t nodes = 0;
};

using PeerGroupPtr = std::shared_ptr<PeerGroup>;

struct Peer {
  NodeId id = 0;
  PeerGroupPtr group;
  Block* block = nullptr;
  UserId user = 0;
  Sequence added = 0;                // to its group
  Sequence replaced = 0;             // changed in a way that a patch cannot tell
  Sequence changed = 0;              // any change: the greatest of all
  std::array<Sequence, 8> fields{};  // by bit of Change::Field
  std::uint16_t late_fields = 0;     // while in Block::late
  bool ipv6_only = false;            // nobody is shown its IPv4 address
  Sequence readdressed = 0;          // when that changed last
  Peer* older = nullptr;             // in the order of `changed`
  Peer* newer = nullptr;
  std::string json;       // empty = to be rendered
  std::string ipv6_json;  // the same for viewers without IPv4
};

// A peer left a group, for another one or for good.
struct RemovedPeer {
  NodeId id = 0;
  PeerGroupPtr group;
  Sequence added = 0;
  Sequence removed = 0;
};

class PeerIndex {
 public:
  PeerIndex(const MapSource& source, const PolicyView& policy, Encoder& encoder,
            std::string base_domain);
  ~PeerIndex();
  PeerIndex(const PeerIndex&) = delete;
  PeerIndex& operator=(const PeerIndex&) = delete;

  // Reads everything anew. Positions from before are void.
  void Rebuild();
  // The node may be of another class now; true when it is.
  bool Move(const Node& node);
  // The same of all nodes.
  void MoveAll();

  void Add(const Node& node);
  void Replace(const Node& node);
  void Patch(const Node& node, std::uint16_t fields);
  // As Patch, without a change that streams would be told of: only what is rendered
  // from now on has the new values.
  void Refresh(const Node& node, std::uint16_t fields);
  void Remove(NodeId id);
  void ChangeUser(UserId id);

  // The sequence number of the latest change.
  [[nodiscard]] Sequence head() const { return head_; }
  // Counts a change that is no peer's (DNS, DERP map).
  Sequence Advance() { return ++head_; }

  [[nodiscard]] Peer* Find(NodeId id) const;
  [[nodiscard]] PeerGroupPtr Group(PeerClass id);
  // Those made after `version` of groups_version.
  [[nodiscard]] std::span<const PeerGroupPtr> GroupsSince(std::uint64_t version) const;
  // Grows with every new group.
  [[nodiscard]] std::uint64_t groups_version() const { return groups_version_; }
  // Grows when groups were dropped.
  [[nodiscard]] std::uint64_t drops() const { return drops_; }
  [[nodiscard]] std::size_t size() const { return peers_.size(); }

  [[nodiscard]] const std::string& Json(Peer& peer, bool ipv6_only);
  // Appends a whole block, in one piece or in parts. It is complete only together
  // with LatePatches, sent after it.
  void AppendBlock(Block& block, PeerForm form, core::SliceList& pieces);
  // Empty (no owner) when there is nothing to patch.
  [[nodiscard]] core::SharedSlice LatePatches(Block& block, Encoding encoding);
  [[nodiscard]] core::SharedSlice BlockPart(Block& block, std::size_t part, PeerForm form);

  // From the latest change back.
  [[nodiscard]] Peer* newest() const { return newest_; }
  [[nodiscard]] const std::deque<RemovedPeer>& removed() const { return removed_; }
  // Where those that left a group after `position` were then, by node. Valid until the
  // next change.
  using Whereabouts = std::unordered_map<NodeId, const RemovedPeer*>;
  [[nodiscard]] const Whereabouts& LeftSince(Sequence position);
  struct UserChange {
    UserId id = 0;
    Sequence at = 0;
  };
  [[nodiscard]] const std::deque<UserChange>& user_changes() const { return user_changes_; }
  // Differs whenever a group's set of users or a user's profile may differ.
  [[nodiscard]] std::uint64_t users_version() const { return users_version_; }

  // What happened up to `position` will not be asked for any more.
  void Forget(Sequence position);
  // Positions below cannot be brought up to date.
  [[nodiscard]] Sequence floor() const { return floor_; }
  // How much Forget could free.
  [[nodiscard]] std::size_t history() const { return removed_.size() + user_changes_.size(); }

  [[nodiscard]] const MapSource& source() const { return source_; }
  [[nodiscard]] const std::string& base_domain() const { return base_domain_; }

 private:
  void Insert(const Node& node, Sequence at);
  void DropGroups();
  void Touch(Peer& peer, Sequence at);
  void Unlink(Peer& peer);
  void PlaceInBlock(Peer& peer);
  void TakeFromBlock(Peer& peer);
  void Reference(Peer& peer, UserId user, Sequence at);
  void Dereference(Peer& peer);
  // What is rendered of these fields is out of date.
  void Outdate(Peer& peer, std::uint16_t fields);
  // Its JSON and the pieces it is part of are to be made anew.
  void Invalidate(Peer& peer);
  static void ForgetJson(Peer& peer);
  // Only the pieces: it comes, goes or moves.
  static void ForgetPieces(const Peer& peer);
  static void ForgetPart(const Peer& peer);
  static void ForgetWhole(Block& block);
  [[nodiscard]] core::SharedSlice MakePiece(Block& block, std::size_t first, std::size_t last,
                                            PeerForm form);

  const MapSource& source_;
  const PolicyView& policy_;
  Encoder& encoder_;
  const std::string base_domain_;
  Sequence head_ = 0;
  Sequence floor_ = 0;
  std::uint64_t users_version_ = 0;
  std::unordered_map<NodeId, std::unique_ptr<Peer>> peers_;
  std::map<PeerClass, PeerGroupPtr> groups_;
  std::vector<PeerGroupPtr> by_age_;  // the same
  std::uint64_t groups_version_ = 0;
  std::uint64_t drops_ = 0;
  Peer* newest_ = nullptr;
  Peer* oldest_ = nullptr;
  std::deque<RemovedPeer> removed_;
  std::deque<UserChange> user_changes_;
  std::map<Sequence, Whereabouts> left_since_;
  Sequence left_since_head_ = 0;  // when those were made
};

}  // namespace ringscale::control
