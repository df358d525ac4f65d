// How machines become nodes.
#include <algorithm>

#include "control/state/registry.h"
#include "control/state/tags.h"
#include "core/obs/log.h"
#include "storage/codec/keys.h"
#include "storage/codec/rows.h"

namespace ringscale::control {
namespace {

std::unexpected<core::Error> Refuse(std::string text) {
  return core::Fail(core::ErrorCode::kPermission, std::move(text));
}

std::unexpected<core::Error> Ambiguous() {
  return core::Fail(core::ErrorCode::kConflict, "machine key maps to ambiguous node ownership");
}

// A machine's nodes by owner: one per user at most, and one tagged.
struct MachineNodes {
  const Node* tagged = nullptr;
  const Node* of_user = nullptr;
  std::vector<const Node*> owned;  // by any user

  MachineNodes(const std::vector<const Node*>& nodes, UserId user) {
    for (const Node* node : nodes) {
      if (node->tagged()) {
        tagged = node;
      } else {
        owned.push_back(node);
        if (node->row.user_id == user) of_user = node;
      }
    }
  }
};

}  // namespace

void Registry::RegisterWithKey(NodeRegistration request, std::string key_text,
                               Completion<Registered> done) {
  auto hostinfo = ParseHostinfo(request.hostinfo);
  if (!hostinfo) {
    done(core::Forward(hostinfo));
    return;
  }
  // A single-use key serves one registration after the other.
  ChangeScope scope{.machine = request.machine_key};
  if (const auto parts = ParseSecret(kPreAuthKeyIntro, key_text)) {
    const auto id = keys_by_prefix_.find(parts->prefix);
    if (id != keys_by_prefix_.end() && !keys_.at(id->second).reusable) {
      scope.pre_auth_key = id->second;
    }
  }
  auto result = std::make_shared<Registered>();
  Submit<Registered>(
      scope, result,
      [this, result, request = std::move(request), hostinfo = std::move(*hostinfo),
       key_text = std::move(key_text)](storage::WriteBatch& batch) {
        return PrepareKeyRegistration(request, hostinfo, key_text, *result, batch);
      },
      std::move(done));
}

void Registry::RegisterForUser(NodeRegistration request, UserId user,
                               storage::RegisterMethod method, Completion<Registered> done) {
  auto hostinfo = ParseHostinfo(request.hostinfo);
  if (!hostinfo) {
    done(core::Forward(hostinfo));
    return;
  }
  const ChangeScope scope{.machine = request.machine_key};
  auto result = std::make_shared<Registered>();
  Submit<Registered>(
      scope, result,
      [this, result, user, method, request = std::move(request),
       hostinfo = std::move(*hostinfo)](storage::WriteBatch& batch) {
        return PrepareUserRegistration(request, hostinfo, user, method, *result, batch);
      },
      std::move(done));
}

core::Result<> Registry::CheckNodeKey(const NodeRegistration& request) const {
  if (request.node_key.zero()) return core::Fail(core::ErrorCode::kInvalid, "no node key given");
  const Node* known = FindNodeByKey(request.node_key);
  // A reserved one is another machine's: registrations of one machine follow each
  // other.
  if (reserved_node_keys_.contains(request.node_key) ||
      (known != nullptr && known->row.machine_key != request.machine_key)) {
    return core::Fail(core::ErrorCode::kConflict, "node key already in use by another machine");
  }
  return {};
}

core::Result<> Registry::CheckKeyUse(const storage::PreAuthKeyRow& key,
                                     const NodeRegistration& request, const Node* target) const {
  if (key.revoked) return Refuse("authkey revoked");
  if (key.expiry && *key.expiry <= loop_.Wall()) return Refuse("authkey expired");
  if (key.reusable || !key.used) return {};
  // A client that never got its answer tries again with a new node key.
  const bool same_attempt = key.used_by == request.machine_key && target != nullptr &&
                            target->row.auth_key_id == key.id && !target->row.ever_polled;
  if (same_attempt) return {};
  return Refuse("authkey already used");
}

core::Result<Registry::Prepared> Registry::PrepareKeyRegistration(const NodeRegistration& request,
                                                                  const Hostinfo& hostinfo,
                                                                  std::string_view key_text,
                                                                  Registered& result,
                                                                  storage::WriteBatch& batch) {
  if (auto ok = CheckNodeKey(request); !ok) return core::Forward(ok);
  const storage::PreAuthKeyRow* key = nullptr;
  if (const auto parts = ParseSecret(kPreAuthKeyIntro, key_text)) {
    const auto id = keys_by_prefix_.find(parts->prefix);
    if (id != keys_by_prefix_.end()) {
      const auto& candidate = keys_.at(id->second);
      if (SecretMatches(candidate.secret_hash, parts->secret)) key = &candidate;
    }
  }
  const core::WallTime now = loop_.Wall();
  const Node* known = FindNodeByKey(request.node_key);
  if (key == nullptr) {
    // A daemon repeats the key it was started with for as long as it runs: its node
    // outlives the key.
    if (known == nullptr || known->expired(now)) return Refuse("invalid pre auth key");
    result = {.id = known->row.id};
    return Prepared{.apply = [] {}, .drop = {}};
  }

  const bool tagged_key = !key->tags.empty();
  const MachineNodes machine(nodes_.OfMachine(request.machine_key), key->user_id);
  const Node* target = nullptr;
  bool convert = false;
  if (tagged_key) {
    target = machine.tagged;
    if (target == nullptr && !machine.owned.empty()) {
      if (machine.owned.size() > 1) return Ambiguous();
      target = machine.owned.front();
      convert = true;
    }
  } else {
    target = machine.of_user != nullptr ? machine.of_user : machine.tagged;
  }

  // A restarted client: what it has stays as it is, whatever became of the key.
  if (target != nullptr && target == known && !target->expired(now) && !convert) {
    result = {.id = target->row.id};
    return PrepareUpdate(*target, Renewed(*target, request, hostinfo), batch);
  }
  if (auto ok = CheckKeyUse(*key, request, target); !ok) return core::Forward(ok);
  // Only a node that is about to be replaced may give its node key away.
  if (known != nullptr && known != target) {
    return core::Fail(core::ErrorCode::kConflict, "node key already in use by another node");
  }
  if (target == nullptr && !hostinfo.request_tags.empty()) {
    return std::unexpected(TagsRefused(hostinfo.request_tags));
  }

  Prepared prepared;
  if (target != nullptr) {
    result = {.id = target->row.id};
    Draft draft = Renewed(*target, request, hostinfo);
    draft.row.node_key = request.node_key;
    draft.row.method = storage::RegisterMethod::kAuthKey;
    draft.row.auth_key_id = key->id;
    draft.row.ephemeral = key->ephemeral || request.ephemeral;
    draft.row.last_seen = now;
    if (convert) {
      draft.row.tags = key->tags;
      draft.row.user_id = 0;
    }
    draft.row.expiry = ExpiryFor(draft.row, request);
    prepared = PrepareUpdate(*target, std::move(draft), batch);
  } else {
    result.created = true;
    auto created = CreateNode(request, hostinfo,
                              {.user = tagged_key ? 0 : key->user_id,
                               .tags = key->tags,
                               .method = storage::RegisterMethod::kAuthKey,
                               .auth_key_id = key->id,
                               .ephemeral = key->ephemeral || request.ephemeral},
                              batch, result.id);
    if (!created) return core::Forward(created);
    prepared = std::move(*created);
  }
  if (key->reusable || key->used) return prepared;

  storage::PreAuthKeyRow used = *key;
  used.used = true;
  used.used_by = request.machine_key;
  batch.Put(storage::Table::kPreAuthKeys, storage::IdKey(used.id), storage::Encode(used));
  return Prepared{.apply =
                      [this, used = std::move(used), apply = std::move(prepared.apply)]() mutable {
                        keys_.at(used.id) = std::move(used);
                        apply();
                      },
                  .drop = std::move(prepared.drop)};
}

core::Result<Registry::Prepared> Registry::PrepareUserRegistration(
    const NodeRegistration& request, const Hostinfo& hostinfo, UserId user,
    storage::RegisterMethod method, Registered& result, storage::WriteBatch& batch) {
  if (FindUser(user) == nullptr) return core::Fail(core::ErrorCode::kNotFound, "user not found");
  if (auto ok = CheckNodeKey(request); !ok) return core::Forward(ok);
  const std::vector<std::string>& tags = hostinfo.request_tags;
  const auto permitted = [&](const std::string& tag) {
    return IsTag(tag) && options_.may_own_tag && options_.may_own_tag(user, tag);
  };
  if (!std::ranges::all_of(tags, permitted)) return std::unexpected(TagsRefused(tags));

  const MachineNodes machine(nodes_.OfMachine(request.machine_key), user);
  const Node* target = machine.of_user;
  if (target == nullptr && machine.tagged != nullptr) {
    if (!machine.owned.empty()) return Ambiguous();
    target = machine.tagged;
  }
  // Two tagged nodes on one machine could not be told apart any more.
  if (!tags.empty() && machine.tagged != nullptr && target != machine.tagged) return Ambiguous();
  const Node* known = FindNodeByKey(request.node_key);
  if (known != nullptr && known != target) {
    return core::Fail(core::ErrorCode::kConflict, "node key already in use by another node");
  }

  if (target == nullptr) {
    result.created = true;
    return CreateNode(request, hostinfo,
                      {.user = tags.empty() ? user : 0,
                       .tags = tags,
                       .method = method,
                       .ephemeral = request.ephemeral},
                      batch, result.id);
  }
  result = {.id = target->row.id};
  Draft draft = Renewed(*target, request, hostinfo);
  draft.row.node_key = request.node_key;
  draft.row.method = method;
  draft.row.tags = tags;
  draft.row.user_id = tags.empty() ? user : 0;
  draft.row.ephemeral |= request.ephemeral;
  draft.row.last_seen = loop_.Wall();
  draft.row.expiry = ExpiryFor(draft.row, request);
  return PrepareUpdate(*target, std::move(draft), batch);
}

core::Result<Registry::Prepared> Registry::CreateNode(const NodeRegistration& request,
                                                      const Hostinfo& hostinfo, const Claim& claim,
                                                      storage::WriteBatch& batch, NodeId& id) {
  std::vector<core::IpPrefix> pools;
  if (options_.address_pools) pools = options_.address_pools(claim.user, claim.tags);
  auto addresses = allocator_.Allocate(pools);
  if (!addresses) {
    core::LogError("state", addresses.error().message);
    return core::Forward(addresses);
  }
  Draft draft{.row = {}, .hostinfo = hostinfo};
  // Another user's node of this machine is on the same network.
  for (const Node* sibling : nodes_.OfMachine(request.machine_key)) {
    if (auto other = ParseStoredHostinfo(sibling->row.hostinfo)) {
      draft.hostinfo->KeepNetInfo(*other);
    }
  }
  storage::NodeRow& row = draft.row;
  row.id = id = meta_.next_node_id++;
  do {
    row.stable_id = NewStableId(options_.random);
  } while (FindNodeByStableId(row.stable_id) != nullptr ||
           reserved_stable_ids_.contains(row.stable_id));
  row.machine_key = request.machine_key;
  row.node_key = request.node_key;
  row.user_id = claim.user;
  row.tags = claim.tags;
  row.hostname = hostinfo.hostname;
  row.given_name = names_.FirstFree(SanitizeHostname(hostinfo.hostname));
  row.ipv4 = addresses->v4;
  row.ipv6 = addresses->v6;
  row.created = loop_.Wall();
  row.last_seen = row.created;
  row.expiry = ExpiryFor(row, request);
  row.ephemeral = claim.ephemeral;
  row.method = claim.method;
  row.auth_key_id = claim.auth_key_id;
  row.capability_version = request.capability_version;
  row.hostinfo = draft.hostinfo->Merged();
  return PrepareInsert(std::move(draft), batch);
}

Registry::Draft Registry::Renewed(const Node& node, const NodeRegistration& request,
                                  const Hostinfo& hostinfo) {
  Draft draft{.row = node.row};
  if (request.capability_version != 0) draft.row.capability_version = request.capability_version;
  if (request.hostinfo.empty()) return draft;
  draft.hostinfo = hostinfo;
  if (auto stored = ParseStoredHostinfo(node.row.hostinfo)) draft.hostinfo->KeepNetInfo(*stored);
  draft.row.hostinfo = draft.hostinfo->Merged();
  draft.row.hostname = hostinfo.hostname;
  FollowHostname(node.row, draft.row);
  return draft;
}

std::optional<core::WallTime> Registry::ExpiryFor(const storage::NodeRow& row,
                                                  const NodeRegistration& request) const {
  if (!row.tags.empty()) return std::nullopt;
  if (request.requested_expiry) return request.requested_expiry;
  if (options_.node_expiry.ns > 0) return loop_.Wall() + options_.node_expiry;
  return std::nullopt;
}

void Registry::FollowHostname(const storage::NodeRow& before, storage::NodeRow& after) {
  if (before.hostname == after.hostname || !IsAutomaticName(before.given_name, before.hostname) ||
      IsAutomaticName(before.given_name, after.hostname)) {
    return;
  }
  after.given_name = names_.FirstFree(SanitizeHostname(after.hostname));
}

}  // namespace ringscale::control
