// The operators' REST API, version 1 as headscale has it (/api/v1/...), plus
// GET /api/v1/node/{id}/detail, which tells what else is known about a node.
//
// Control thread only. Knows nothing of sockets, HTTP or who asks.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "control/api/admin_request.h"
#include "control/api/problem.h"
#include "control/auth/registration.h"
#include "control/auth/ssh_checks.h"
#include "control/policy/policy_keeper.h"
#include "control/state/registry.h"
#include "core/engine/loop.h"
#include "storage/store.h"

namespace ringscale::control {

struct AdminApiOptions {
  // Sentences about what is wrong with the server, besides the store.
  std::function<std::vector<std::string>()> problems;
  // Whether they keep it from its work; unset: any problem does.
  std::function<bool()> failing;
  // More sentences about a node for `nodes show`.
  std::function<std::vector<std::string>(const Node&)> node_notes;
  // The name of a relay region; empty = unknown.
  std::function<std::string(std::uint16_t region)> region_name;
  // The policy; null: there is none to ask about.
  PolicyKeeper* policy = nullptr;
  // SSH sessions that wait for `auth approve`; null: none ever does.
  SshChecks* ssh_checks = nullptr;
  // How long a pre-auth key lasts whose maker did not say.
  core::Duration default_key_lifetime = core::Seconds(3600);
};

class AdminApi {
 public:
  // All must outlive this, and the registry's changes must be finished or
  // forgotten before this goes.
  AdminApi(core::engine::Loop& loop, Registry& registry, Registration& registration,
           storage::Store& store, AdminApiOptions options = {});
  AdminApi(const AdminApi&) = delete;
  AdminApi& operator=(const AdminApi&) = delete;

  // True for paths that are this API's, known or not.
  [[nodiscard]] static bool Owns(std::string_view path);

  // Answers once; for changes after they are on disk.
  void Handle(AdminRequest request, AdminRespond respond);

 private:
  // The variable segments of a path, decoded.
  using Segments = std::vector<std::string>;
  struct Route;
  static const std::vector<Route>& Routes();

  void Health(const AdminRequest& request, const Segments& segments, AdminRespond respond);

  void CreateUser(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void ListUsers(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void RenameUser(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void DeleteUser(const AdminRequest& request, const Segments& segments, AdminRespond respond);

  void CreateKey(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void ListKeys(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void ExpireKey(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void DeleteKey(const AdminRequest& request, const Segments& segments, AdminRespond respond);

  void ListNodes(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void GetNode(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void NodeDetail(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void DeleteNode(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void ExpireNode(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void RenameNode(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void SetTags(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void ApproveRoutes(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void BackfillIps(const AdminRequest& request, const Segments& segments, AdminRespond respond);

  void GetPolicy(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void SetPolicy(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void CheckPolicy(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void PolicyHistory(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void PolicyVersion(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void ExplainPolicy(const AdminRequest& request, const Segments& segments, AdminRespond respond);

  void RegisterNode(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void AuthRegister(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void AuthApprove(const AdminRequest& request, const Segments& segments, AdminRespond respond);
  void AuthReject(const AdminRequest& request, const Segments& segments, AdminRespond respond);

  // Finishes a pending login for the user that a name or an id means.
  void FinishLogin(std::string_view id, std::string_view user, AdminRespond respond);
  void Verdict(const AdminRequest& request, AdminRespond respond, bool approve);
  // What answers with {"node": ...} once it is done.
  Completion<> AnswerWithNode(NodeId id, std::string doing, AdminRespond respond);
  // What answers with {} once it is done.
  static Completion<> AnswerEmpty(std::string doing, AdminRespond respond);
  void SendNode(NodeId id, std::string_view doing, AdminRespond respond) const;
  [[nodiscard]] std::vector<std::string> NotesOn(const Node& node) const;

  core::engine::Loop& loop_;
  Registry& registry_;
  Registration& registration_;
  storage::Store& store_;
  AdminApiOptions options_;
};

// --- shared by the handlers ---

// A decimal id; 400 with the operation's name otherwise.
[[nodiscard]] core::Result<std::uint64_t> ParseId(std::string_view text);
// 200 with a JSON body.
[[nodiscard]] AdminResponse JsonAnswer(std::string body);

}  // namespace ringscale::control
