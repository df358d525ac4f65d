// The authoritative state of the tailnet: users, nodes, pre-auth keys.
//
// Threading: everything here runs on the control loop's thread. What it returns by
// pointer or reference is valid until the next call that can change it: keep ids.
//
// Durability: a change is validated against the state and against what is still
// being written, committed, applied, published to the listeners and only then
// answered. What failed to commit was never visible. Exempt, because nothing
// acknowledged depends on them: endpoints, NetInfo with the home region, online
// state and last-seen; they are visible at once and written in batches later.
//
// Changes of one machine's nodes follow each other; those of different machines
// are in flight together and share the store's group commits.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "control/state/change_queue.h"
#include "control/state/deadlines.h"
#include "control/state/hostinfo.h"
#include "control/state/ip_allocator.h"
#include "control/state/names.h"
#include "control/state/node_table.h"
#include "control/state/primary_routes.h"
#include "control/state/secrets.h"
#include "control/state/types.h"
#include "core/engine/loop.h"
#include "storage/store.h"

namespace ringscale::control {

struct RegistryOptions {
  // An absent family is not given to nodes.
  std::optional<core::IpPrefix> prefix_v4 = core::IpPrefix::Parse("100.64.0.0/10");
  std::optional<core::IpPrefix> prefix_v6 = core::IpPrefix::Parse("fd7a:115c:a1e0::/48");
  AddressStrategy addresses = AddressStrategy::kSequential;
  std::string base_domain = "tailnet.internal";
  core::Duration node_expiry{};                            // of user-owned nodes; 0 = never
  core::Duration ephemeral_timeout = core::Seconds(1800);  // without a stream, then deleted
  // A node whose stream ended and that returns within this time never was offline.
  core::Duration offline_grace = core::Seconds(10);
  // The same for nodes that were online when the server stopped.
  core::Duration restart_grace = core::Seconds(60);
  core::Duration lazy_write_interval = core::Seconds(5);
  std::size_t changes_in_flight = 65536;  // more are refused with kUnavailable
  // Whether a user may give a node this tag at an interactive login (the policy's
  // tagOwners). None may while it is empty.
  std::function<bool(UserId, std::string_view tag)> may_own_tag;
  // Where the IPv4 address of a new node of this user, or with these tags, comes from
  // (the policy's ipPool); from prefix_v4 while it is empty.
  std::function<std::vector<core::IpPrefix>(UserId, std::span<const std::string> tags)>
      address_pools;
  // Whether the policy knows this tag (nodes tag, tagged keys). Every well-formed
  // tag is known while it is empty.
  std::function<bool(std::string_view tag)> tag_exists;
  RandomSource random = SystemRandom;
};

inline constexpr std::size_t kKeptPolicies = 200;
// Approvals of SSH sessions to one node; the oldest go.
inline constexpr std::size_t kKeptSshApprovals = 512;
// No policy may ask for a longer checkPeriod: older ones count for nothing.
inline constexpr core::Duration kSshApprovalMax = core::Seconds(168 * 3600);

// Where an SSH session comes from.
struct SshPair {
  NodeId source = 0;
  UserId owner = 0;  // of the source; 0: it is tagged
  auto operator<=>(const SshPair&) const = default;
};

struct NewUser {
  std::string name;
  std::string display_name;
  std::string email;
  std::string picture_url;
};

struct NewPreAuthKey {
  UserId user = 0;  // 0 = none, then tags are needed
  bool reusable = false;
  bool ephemeral = false;
  std::optional<core::WallTime> expiry;
  std::vector<std::string> tags;
};

struct CreatedPreAuthKey {
  storage::PreAuthKeyRow row;
  std::string text;  // the whole key: shown once, stored nowhere
};

// A machine that wants to be a node (tailcfg.RegisterRequest).
struct NodeRegistration {
  core::MachinePublic machine_key;
  core::NodePublic node_key;
  std::string hostinfo;  // the client's JSON, or empty
  std::optional<core::WallTime> requested_expiry;
  std::uint32_t capability_version = 0;
  bool ephemeral = false;
};

struct Registered {
  NodeId id = 0;
  bool created = false;  // else the machine's existing node was updated
};

// What a map request tells about its node (tailcfg.MapRequest).
struct NodeReport {
  std::uint32_t capability_version = 0;
  core::DiscoPublic disco_key;  // zero keeps the stored one
  std::string_view hostinfo;    // the client's JSON; empty or null keeps the stored one
  std::vector<Endpoint> endpoints;
  // A streaming request never takes endpoints away: from capability version 68 on
  // clients report them by separate requests.
  bool streaming = false;
};

class Registry {
 public:
  // `loop` and `store` must outlive the registry, and the loop must outlive the
  // store's Close (completions are posted to it).
  Registry(core::engine::Loop& loop, storage::Store& store, RegistryOptions options);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Reads the store and starts the timers. An inconsistent row is an error that
  // names the row and what is wrong with it; the registry is of no use then.
  [[nodiscard]] core::Result<> Load();
  // Writes what is written lazily; `done` runs when nothing is in flight any more.
  void Flush(Completion<> done);

  // Listeners are called in the order of their registration and outlive the
  // registry or are removed. They must not start changes from within OnChange.
  void AddListener(ChangeListener& listener);
  void RemoveListener(ChangeListener& listener);
  // Of logins, and of ephemeral nodes that go away, from now on.
  void SetLifetimes(core::Duration node_expiry, core::Duration ephemeral_timeout) {
    options_.node_expiry = node_expiry;
    options_.ephemeral_timeout = ephemeral_timeout;
  }
  // Says that a reconnect storm is being worked off: nobody goes offline meanwhile.
  void SetStormCheck(std::function<bool()> storm_draining);

  // --- reading ---
  [[nodiscard]] const std::map<NodeId, Node>& nodes() const { return nodes_.all(); }
  [[nodiscard]] const Node* FindNode(NodeId id) const { return nodes_.Find(id); }
  [[nodiscard]] const Node* FindNodeByKey(const core::NodePublic& key) const;
  [[nodiscard]] const Node* FindNodeByName(std::string_view given_name) const;
  [[nodiscard]] const Node* FindNodeByAddress(const core::IpAddress& ip) const;
  [[nodiscard]] const Node* FindNodeByStableId(std::string_view stable_id) const;
  // A machine may be several nodes: one per user and one tagged.
  [[nodiscard]] std::vector<const Node*> NodesOfMachine(const core::MachinePublic& key) const;
  [[nodiscard]] std::vector<const Node*> NodesOfUser(UserId user) const;
  [[nodiscard]] const std::map<UserId, storage::UserRow>& users() const { return users_; }
  [[nodiscard]] const storage::UserRow* FindUser(UserId id) const;
  [[nodiscard]] const storage::UserRow* FindUserByName(std::string_view name) const;
  // What operators type for a user: digits are an id, anything else a name.
  [[nodiscard]] core::Result<UserId> ResolveUser(std::string_view name_or_id) const;
  [[nodiscard]] const std::map<std::uint64_t, storage::PreAuthKeyRow>& pre_auth_keys() const {
    return keys_;
  }
  // The subnet routes this node serves now (never exit routes), sorted.
  [[nodiscard]] std::vector<core::IpPrefix> PrimaryRoutes(NodeId id) const {
    return primaries_.Of(id);
  }
  // Who serves this prefix now; 0 = nobody.
  [[nodiscard]] NodeId PrimaryFor(const core::IpPrefix& prefix) const {
    return primaries_.ServerOf(prefix);
  }
  // Online routers of which another one offers a subnet too. Valid until the next
  // change.
  [[nodiscard]] const std::set<NodeId>& SharingRouters() const { return primaries_.Sharing(); }
  // Policies set so far, by version; the last is in force. Only as many as
  // kKeptPolicies are kept.
  [[nodiscard]] const std::map<std::uint64_t, storage::PolicyRow>& policies() const {
    return policies_;
  }
  [[nodiscard]] const std::string& server_id() const { return meta_.server_id; }
  [[nodiscard]] const RegistryOptions& options() const { return options_; }
  [[nodiscard]] std::size_t changes_in_flight() const { return queue_.size(); }

  // --- users ---
  // Names: 2 to 255 characters, a letter first, then letters, digits, '-', '.',
  // '_' and at most one '@'; unique.
  void CreateUser(NewUser user, Completion<UserId> done);
  void RenameUser(UserId id, std::string new_name, Completion<> done);
  // Refused while the user owns nodes; takes the user's pre-auth keys along.
  void DestroyUser(UserId id, Completion<> done);

  // --- pre-auth keys ---
  void CreatePreAuthKey(NewPreAuthKey key, Completion<CreatedPreAuthKey> done);
  void ExpirePreAuthKey(std::uint64_t id, Completion<> done);
  // Nodes that joined with it stay, but are not ephemeral any more.
  void DeletePreAuthKey(std::uint64_t id, Completion<> done);

  // --- policies ---
  // Stores a policy that has been checked; the answer is its version.
  void SavePolicy(std::string text, std::string author, Completion<std::uint64_t> done);

  // --- nodes, by operators ---
  // Now, a given time, or never (nullopt).
  void SetNodeExpiry(NodeId id, std::optional<core::WallTime> expiry, Completion<> done);
  void ExpireNodeNow(NodeId id, Completion<> done);
  // `name` must be a DNS label already and nobody else's.
  void RenameNode(NodeId id, std::string name, Completion<> done);
  // Replaces the tags; the node belongs to no user from then on.
  void SetNodeTags(NodeId id, std::vector<std::string> tags, Completion<> done);
  // Replaces the approved routes. One exit route stands for both. The routes need
  // not be announced.
  void ApproveRoutes(NodeId id, std::vector<core::IpPrefix> routes, Completion<> done);
  void DeleteNode(NodeId id, Completion<> done);
  // Gives every node an address of each configured family and takes those of
  // others away. Returns what was done, one sentence each.
  void BackfillAddresses(Completion<std::vector<std::string>> done);

  // --- nodes, by their clients ---
  // The key's text decides on owner and tags. Errors carry the texts that clients
  // show ("authkey expired", ...).
  void RegisterWithKey(NodeRegistration request, std::string key_text, Completion<Registered> done);
  // After an interactive login, approved for `user`.
  void RegisterForUser(NodeRegistration request, UserId user, storage::RegisterMethod method,
                       Completion<Registered> done);
  // Expires the node now; an ephemeral one is deleted.
  void LogoutNode(NodeId id, Completion<> done);
  // A client asks to expire sooner; later than now allowed is an error.
  void ShortenNodeExpiry(NodeId id, core::WallTime expiry, Completion<> done);
  // Applies a map request. `done` may run before the call returns, and does when
  // nothing durable changed. A map stream is to be opened after it.
  void ReportNode(NodeId id, NodeReport report, Completion<> done);

  // --- SSH sessions to a node that somebody approved ---
  void NoteSshApproval(NodeId destination, const SshPair& pair);
  // Whether it was so at most `period` ago. Outlives a restart.
  [[nodiscard]] bool SshApproved(NodeId destination, const SshPair& pair,
                                 core::Duration period) const;

  // --- presence ---
  // Pairs of calls around every streaming poll. Unknown nodes are ignored.
  void StreamOpened(NodeId id);
  void StreamClosed(NodeId id);
  // A relay login of this node key came or went.
  void SetRelayConnected(const core::NodePublic& key, bool connected);
  // Whether a router can be reached: the subnets that it shares with healthy ones are
  // theirs while it cannot. Going offline makes it responsive again.
  void SetResponsive(NodeId id, bool responsive);

 private:
  using Prepared = ChangeQueue::Prepared;

  // A node's next durable part, on its way to the store.
  struct Draft {
    storage::NodeRow row;
    std::optional<Hostinfo> hostinfo = {};  // parsed, when row.hostinfo is new
    std::uint64_t hostinfo_digest = 0;
    bool lazily = false;  // nothing durable in it: no commit now
  };
  // What a key or a login entitles a machine to.
  struct Claim {
    UserId user = 0;
    std::vector<std::string> tags;
    storage::RegisterMethod method = storage::RegisterMethod::kUnknown;
    std::uint64_t auth_key_id = 0;
    bool ephemeral = false;
  };

  // --- registry.cc: from draft to state ---
  template <class T>
  void Submit(const ChangeScope& scope, std::shared_ptr<T> result, ChangeQueue::Prepare prepare,
              Completion<T> done) {
    queue_.Submit(scope, std::move(prepare),
                  [result = std::move(result), done = std::move(done)](core::Result<> r) mutable {
                    if (r) {
                      done(std::move(*result));
                    } else {
                      done(core::Forward(r));
                    }
                  });
  }
  core::Result<> LoadRecord(storage::Table table, std::string_view key, std::string_view record,
                            std::vector<storage::NodeRow>& nodes);
  core::Result<> LoadNode(storage::NodeRow row);
  void RestorePrimaries(const std::map<NodeId, std::vector<core::IpPrefix>>& served);
  void PutNode(storage::WriteBatch& batch, const storage::NodeRow& row, bool online) const;
  void PutMeta(storage::WriteBatch& batch) const;
  // Reserve what the draft takes (name, node key, addresses) and say how to apply it.
  Prepared PrepareInsert(Draft draft, storage::WriteBatch& batch);
  Prepared PrepareUpdate(const Node& node, Draft draft, storage::WriteBatch& batch);
  Prepared PrepareRemoval(NodeId id, storage::WriteBatch& batch);
  void ApplyInsert(Draft draft);
  void ApplyUpdate(Draft draft);
  void ApplyRemoval(NodeId id);
  void TakeHostinfo(Node& node, const Hostinfo& info);
  // Publishes the change and what it does to primary routes. A change without
  // fields is published only when primary routes make it one.
  void Announce(Node& node, Change change);
  void Publish(const Change& change);

  // --- registry_nodes.cc ---
  using Edit = std::move_only_function<core::Result<>(const Node& before, storage::NodeRow& after)>;
  void EditNode(NodeId id, Edit edit, Completion<> done);
  core::Result<> CheckTags(const std::vector<std::string>& tags) const;

  // --- registry_keys.cc ---
  // Takes the keys and what nodes remember of them away.
  Prepared PrepareKeyRemoval(const std::set<std::uint64_t>& ids, storage::WriteBatch& batch);

  // --- registry_register.cc ---
  core::Result<Prepared> PrepareKeyRegistration(const NodeRegistration& request,
                                                const Hostinfo& hostinfo, std::string_view key_text,
                                                Registered& result, storage::WriteBatch& batch);
  core::Result<Prepared> PrepareUserRegistration(const NodeRegistration& request,
                                                 const Hostinfo& hostinfo, UserId user,
                                                 storage::RegisterMethod method, Registered& result,
                                                 storage::WriteBatch& batch);
  core::Result<> CheckNodeKey(const NodeRegistration& request) const;
  core::Result<> CheckKeyUse(const storage::PreAuthKeyRow& key, const NodeRegistration& request,
                             const Node* target) const;
  core::Result<Prepared> CreateNode(const NodeRegistration& request, const Hostinfo& hostinfo,
                                    const Claim& claim, storage::WriteBatch& batch, NodeId& id);
  Draft Renewed(const Node& node, const NodeRegistration& request, const Hostinfo& hostinfo);
  std::optional<core::WallTime> ExpiryFor(const storage::NodeRow& row,
                                          const NodeRegistration& request) const;
  // The name follows the hostname where nobody chose another.
  void FollowHostname(const storage::NodeRow& before, storage::NodeRow& after);

  // --- registry_ssh.cc ---
  [[nodiscard]] std::vector<storage::SshApproval> SshApprovalsOf(NodeId destination) const;
  void RestoreSshApprovals(NodeId destination, const std::vector<storage::SshApproval>& approvals);

  // --- registry_presence.cc ---
  void TakeEndpoints(Node& node, std::vector<Endpoint> endpoints);
  void ArmTimer();
  void OnTimer();
  void OnDeadline(Deadlines::Due due);
  void GoOffline(Node& node);
  void CollectEphemeral(NodeId id);
  void TrackExpiry(NodeId id, const std::optional<core::WallTime>& before,
                   const std::optional<core::WallTime>& after);
  void ScanExpiry();
  void SetDeadline(DeadlineKind kind, NodeId id, core::Duration from_now);
  void MarkDirty(NodeId id);
  // What it serves has changed: written soon, since a restart goes by it.
  void MarkPrimaryMoved(NodeId id);
  void WriteLazily();

  core::engine::Loop& loop_;
  storage::Store& store_;
  RegistryOptions options_;
  storage::MetaRow meta_;

  NodeTable nodes_;
  std::map<UserId, storage::UserRow> users_;
  std::map<std::string, UserId, std::less<>> users_by_name_;
  std::map<std::uint64_t, storage::PreAuthKeyRow> keys_;
  std::map<std::uint64_t, storage::PolicyRow> policies_;
  std::unordered_map<NodeId, std::map<SshPair, core::WallTime>> ssh_approvals_;
  std::unordered_map<std::string, std::uint64_t, core::KeyedHasher, std::equal_to<>>
      keys_by_prefix_;
  // Committed ones and those on their way.
  NameIndex names_;
  IpAllocator allocator_;
  std::unordered_set<core::NodePublic, core::KeyedHasher> reserved_node_keys_;
  std::unordered_set<std::string> reserved_stable_ids_;
  PrimaryRouteTable primaries_;

  ChangeQueue queue_;
  Deadlines deadlines_;
  core::engine::TimerId timer_;
  std::optional<core::Instant> timer_at_;
  std::set<std::pair<core::WallTime, NodeId>> expiries_;  // those to come
  std::set<NodeId> dirty_;                                // nodes with something to write lazily
  std::function<bool()> storm_draining_;
  std::vector<ChangeListener*> listeners_;
};

}  // namespace ringscale::control
