// Decides what a machine that registers is told: by what it has, by pre-auth key,
// or by a login that somebody finishes (tailcfg.RegisterRequest).
//
// Control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "control/auth/pending.h"
#include "control/state/registry.h"
#include "control/wire/register_request.h"
#include "control/wire/register_response.h"
#include "core/engine/loop.h"

namespace ringscale::control {

class Registration {
 public:
  // Who asks. `auth_url` makes the address of the page that finishes a login; it
  // differs from client to client, as the server's name does.
  struct Client {
    core::MachinePublic machine_key;
    core::IpAddress source;  // after trusted proxies
    std::function<std::string(std::string_view auth_id)> auth_url;
  };
  using Reply = std::move_only_function<void(RegisterResponse)>;
  using Ticket = std::uint64_t;

  // `registry` must outlive this and finish its changes before this goes.
  Registration(core::engine::Loop& loop, Registry& registry, PendingLimits limits = {});
  ~Registration();
  void SetLimits(const PendingLimits& limits);
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

  // `reply` is called once: possibly before Handle returns, possibly after a login
  // of minutes. Every answer is meant for HTTP status 200; refusals carry a text.
  Ticket Handle(const RegisterRequest& request, Client client, Reply reply);
  // The client has gone: its reply is not called any more. What it asked for goes
  // on, and its pending login stays for its next try. Unknown tickets are ignored.
  void Cancel(Ticket ticket);

  // --- for pages and operators ---
  // The id may also be the text of the machine or node key that wants to join.
  [[nodiscard]] const PendingLogin* FindPending(std::string_view id) const;
  // auth register, nodes register: the machine becomes this user's node.
  void Register(std::string_view id, UserId user, storage::RegisterMethod method,
                Completion<NodeId> done);
  // auth approve. A registration needs a user: this only explains that.
  core::Result<> Approve(std::string_view id);
  // auth reject: the client is told so.
  core::Result<> Reject(std::string_view id);
  [[nodiscard]] std::size_t pending() const { return pending_.size(); }

 private:
  struct Waiting {
    Client client;
    NodeRegistration request;
    Reply reply;
    std::string login;  // the pending login it is held for, or empty
  };

  void Answer(Ticket ticket, RegisterResponse response);
  void AnswerError(Ticket ticket, std::string text);
  void AnswerNode(Ticket ticket, NodeId id);
  void AnswerLater(Ticket ticket, NodeId id, core::Result<> outcome);
  void HandleKnown(Ticket ticket, const RegisterRequest& request, const Node& node);
  void HandleLogout(Ticket ticket, const Node* node);
  void HandleFollowup(Ticket ticket, std::string_view followup);
  void HandleKey(Ticket ticket, const RegisterRequest& request);
  void StartLogin(Ticket ticket);
  void HoldFor(Ticket ticket, PendingLogin& login);
  [[nodiscard]] core::Result<const PendingLogin*> Lookup(std::string_view id,
                                                         std::string_view unknown) const;
  void ArmTimer();
  void OnTimer();

  core::engine::Loop& loop_;
  Registry& registry_;
  PendingLogins pending_;
  std::unordered_map<Ticket, Waiting> waiting_;
  std::unordered_map<core::MachinePublic, Ticket, core::KeyedHasher> held_;
  Ticket next_ticket_ = 1;
  core::engine::TimerId timer_;
  std::optional<core::Instant> timer_at_;
  // Completions of the registry find out here whether this still exists.
  std::shared_ptr<Registration*> self_;
};

// The id in an AuthURL that a client returns: "http[s]://HOST.../register/<id>".
core::Result<std::string_view> ParseFollowup(std::string_view url);

// Who owns this node, as the client is told (User and Login).
RegisterResponse NodeResponse(const Registry& registry, const Node& node, core::WallTime now);

}  // namespace ringscale::control
