#include "control/auth/registration.h"

#include <algorithm>
#include <utility>

#include "control/auth/client_version.h"
#include "control/state/profile.h"
#include "control/state/secrets.h"
#include "core/obs/log.h"

namespace ringscale::control {
namespace {

constexpr std::size_t kMaxFollowup = 2048;

NodeRegistration ToRegistration(const RegisterRequest& request,
                                const core::MachinePublic& machine_key) {
  return {.machine_key = machine_key,
          .node_key = request.node_key,
          .hostinfo = request.hostinfo,
          .requested_expiry = request.expiry,
          .capability_version = request.version,
          .ephemeral = request.ephemeral};
}

RegisterResponse ExpiredResponse() {
  RegisterResponse response;
  response.node_key_expired = true;
  return response;
}

}  // namespace

core::Result<std::string_view> ParseFollowup(std::string_view url) {
  constexpr std::string_view kPath = "/register/";
  const std::size_t at = url.rfind(kPath);
  if (url.size() > kMaxFollowup || at == std::string_view::npos ||
      !(url.starts_with("http://") || url.starts_with("https://"))) {
    return core::Fail(core::ErrorCode::kInvalid, "invalid followup URL");
  }
  const std::string_view id = url.substr(at + kPath.size());
  if (!IsAuthId(id)) return core::Fail(core::ErrorCode::kInvalid, "invalid registration ID");
  return id;
}

RegisterResponse NodeResponse(const Registry& registry, const Node& node, core::WallTime now) {
  RegisterResponse response;
  response.user_id = node.wire_user();
  if (node.tagged()) {
    response.login_name = kTaggedDevicesLogin;
    response.display_name = kTaggedDevicesName;
  } else if (const storage::UserRow* user = registry.FindUser(node.row.user_id)) {
    response.login_name = LoginName(*user);
    response.display_name = DisplayName(*user);
    response.picture_url = user->picture_url;
    response.provider = user->provider;
    response.user_created = user->created;
  }
  response.node_key_expired = node.expired(now);
  response.machine_authorized = true;
  return response;
}

Registration::Registration(core::engine::Loop& loop, Registry& registry, PendingLimits limits)
    : loop_(loop),
      registry_(registry),
      pending_(limits),
      self_(std::make_shared<Registration*>(this)) {}

Registration::~Registration() {
  *self_ = nullptr;
  if (timer_.value != 0) loop_.CancelTimer(timer_);
}

// --- requests ---

Registration::Ticket Registration::Handle(const RegisterRequest& request, Client client,
                                          Reply reply) {
  const Ticket ticket = next_ticket_++;
  const core::MachinePublic machine_key = client.machine_key;
  NodeRegistration registration = ToRegistration(request, machine_key);
  waiting_.emplace(ticket, Waiting{.client = std::move(client),
                                   .request = std::move(registration),
                                   .reply = std::move(reply),
                                   .login = {}});
  if (request.version < kMinCapabilityVersion) {
    AnswerError(ticket, UnsupportedClient(request.version));
    return ticket;
  }
  const Node* const node = registry_.FindNodeByKey(request.node_key);
  if (node != nullptr && node->row.machine_key != machine_key) {
    AnswerError(ticket, "node exists with a different machine key");
    return ticket;
  }
  // Before the auth key: clients repeat it in every request, log-out included.
  if (request.IsLogout(loop_.Wall())) {
    HandleLogout(ticket, node);
  } else if (request.auth_key.empty() && node != nullptr) {
    HandleKnown(ticket, request, *node);
  } else if (!request.followup.empty()) {
    HandleFollowup(ticket, request.followup);
  } else if (!request.auth_key.empty()) {
    HandleKey(ticket, request);
  } else {
    StartLogin(ticket);
  }
  return ticket;
}

void Registration::Cancel(Ticket ticket) {
  const auto it = waiting_.find(ticket);
  if (it == waiting_.end()) return;
  if (!it->second.login.empty()) {
    if (PendingLogin* login = pending_.Use(it->second.login); login != nullptr) login->waiter = 0;
    held_.erase(it->second.client.machine_key);
  }
  waiting_.erase(it);
}

void Registration::Answer(Ticket ticket, RegisterResponse response) {
  auto node = waiting_.extract(ticket);
  if (node.empty()) return;
  Waiting& waiting = node.mapped();
  if (!waiting.login.empty()) {
    if (PendingLogin* login = pending_.Use(waiting.login); login != nullptr) login->waiter = 0;
    held_.erase(waiting.client.machine_key);
  }
  waiting.reply(std::move(response));
}

void Registration::AnswerError(Ticket ticket, std::string text) {
  RegisterResponse response;
  response.error = std::move(text);
  Answer(ticket, std::move(response));
}

void Registration::AnswerNode(Ticket ticket, NodeId id) {
  const Node* const node = registry_.FindNode(id);
  if (node == nullptr) {
    AnswerError(ticket, "the node was deleted meanwhile");
    return;
  }
  Answer(ticket, NodeResponse(registry_, *node, loop_.Wall()));
}

void Registration::AnswerLater(Ticket ticket, NodeId id, core::Result<> outcome) {
  if (outcome) {
    AnswerNode(ticket, id);
  } else {
    AnswerError(ticket, std::move(outcome.error().message));
  }
}

void Registration::HandleLogout(Ticket ticket, const Node* node) {
  // Nothing to do for a node that is gone: above all not to register it by the
  // auth key that its client still carries.
  if (node == nullptr || node->expired(loop_.Wall())) {
    Answer(ticket, ExpiredResponse());
    return;
  }
  const NodeId id = node->row.id;
  registry_.LogoutNode(id, [self = self_, ticket, id](core::Result<> outcome) {
    Registration* const auth = *self;
    if (auth == nullptr) return;
    if (outcome && auth->registry_.FindNode(id) == nullptr) {
      auth->Answer(ticket, ExpiredResponse());  // an ephemeral one
    } else {
      auth->AnswerLater(ticket, id, std::move(outcome));
    }
  });
}

void Registration::HandleKnown(Ticket ticket, const RegisterRequest& request, const Node& node) {
  if (node.expired(loop_.Wall())) {
    Answer(ticket, ExpiredResponse());
    return;
  }
  if (!request.expiry) {
    AnswerNode(ticket, node.row.id);
    return;
  }
  const NodeId id = node.row.id;
  registry_.ShortenNodeExpiry(id, *request.expiry,
                              [self = self_, ticket, id](core::Result<> outcome) {
                                if (*self != nullptr)
                                  (*self)->AnswerLater(ticket, id, std::move(outcome));
                              });
}

void Registration::HandleKey(Ticket ticket, const RegisterRequest& request) {
  registry_.RegisterWithKey(waiting_.at(ticket).request, request.auth_key,
                            [self = self_, ticket](core::Result<Registered> registered) {
                              Registration* const auth = *self;
                              if (auth == nullptr) return;
                              if (registered) {
                                auth->AnswerNode(ticket, registered->id);
                              } else {
                                core::LogInfo("auth", "registration by auth key refused",
                                              {{"reason", registered.error().message}});
                                auth->AnswerError(ticket, std::move(registered.error().message));
                              }
                            });
}

void Registration::HandleFollowup(Ticket ticket, std::string_view followup) {
  const auto id = ParseFollowup(followup);
  if (!id) {
    AnswerError(ticket, id.error().message);
    return;
  }
  const NodeRegistration& request = waiting_.at(ticket).request;
  PendingLogin* const login = pending_.Use(*id);
  if (login == nullptr || login->request.machine_key != request.machine_key ||
      login->request.node_key != request.node_key) {
    // Expired, or of a server that ran before: the client shows the new address.
    StartLogin(ticket);
    return;
  }
  if (login->rejected) {
    pending_.Remove(*id);
    AnswerError(ticket, "registration rejected");
    return;
  }
  HoldFor(ticket, *login);
}

void Registration::HoldFor(Ticket ticket, PendingLogin& login) {
  Waiting& waiting = waiting_.at(ticket);
  const std::string id = login.id;
  const auto older = held_.find(waiting.client.machine_key);
  if (older != held_.end()) AnswerError(older->second, "registration timed out");
  // The answer may have led to other calls; the login may be gone.
  PendingLogin* const current = pending_.Use(id);
  const auto still = waiting_.find(ticket);
  if (still == waiting_.end()) return;
  if (current == nullptr) {
    StartLogin(ticket);
    return;
  }
  current->waiter = ticket;
  still->second.login = id;
  held_.insert_or_assign(still->second.client.machine_key, ticket);
}

void Registration::StartLogin(Ticket ticket) {
  const Waiting& waiting = waiting_.at(ticket);
  const auto hostinfo = ParseHostinfo(waiting.request.hostinfo);
  if (!hostinfo) {
    AnswerError(ticket, hostinfo.error().message);
    return;
  }
  const auto respond = [&](std::string_view id) {
    RegisterResponse response;
    response.auth_url = waiting.client.auth_url(id);
    Answer(ticket, std::move(response));
  };
  // The same attempt again keeps its address.
  PendingLogin* const same =
      pending_.UseByKeys(waiting.request.machine_key, waiting.request.node_key);
  if (same != nullptr && !same->rejected) {
    same->request = waiting.request;
    same->hostname = hostinfo->hostname;
    respond(std::string(same->id));
    return;
  }
  PendingLogin login{.id = NewAuthId(registry_.options().random),
                     .request = waiting.request,
                     .hostname = hostinfo->hostname,
                     .source = SourceOf(waiting.client.source),
                     .created = loop_.Now()};
  const std::string id = login.id;
  const auto evicted = pending_.Add(std::move(login));
  ArmTimer();
  respond(id);
  // Not with a new login: it would push out the next one, and so on.
  if (evicted && evicted->waiter != 0) AnswerError(evicted->waiter, "registration expired");
}

// --- finishing ---

const PendingLogin* Registration::FindPending(std::string_view id) const {
  return IsAuthId(id) ? pending_.Find(id) : pending_.FindByKeyText(id);
}

core::Result<const PendingLogin*> Registration::Lookup(std::string_view id,
                                                       std::string_view unknown) const {
  const PendingLogin* const login = FindPending(id);
  if (login != nullptr && !login->rejected) return login;
  if (!IsAuthId(id) && !core::MachinePublic::Parse(id) && !core::NodePublic::Parse(id)) {
    return core::Fail(core::ErrorCode::kInvalid,
                      "invalid auth_id: expected hskey-authreq- and 24 hex digits");
  }
  return core::Fail(core::ErrorCode::kNotFound, std::string(unknown));
}

void Registration::Register(std::string_view id, UserId user, storage::RegisterMethod method,
                            Completion<NodeId> done) {
  const auto found = Lookup(id, "node not found in registration cache");
  if (!found) {
    done(std::unexpected(found.error()));
    return;
  }
  if (registry_.FindUser(user) == nullptr) {
    done(core::Fail(core::ErrorCode::kNotFound, "looking up user: user not found"));
    return;
  }
  PendingLogin& login = *pending_.Use((*found)->id);
  if (login.finishing) {
    done(core::Fail(core::ErrorCode::kConflict, "this registration is being finished already"));
    return;
  }
  login.finishing = true;
  registry_.RegisterForUser(login.request, user, method,
                            [self = self_, id = login.id,
                             done = std::move(done)](core::Result<Registered> registered) mutable {
                              Registration* const auth = *self;
                              if (auth == nullptr) return;
                              if (!registered) {
                                if (PendingLogin* pending = auth->pending_.Use(id))
                                  pending->finishing = false;
                                done(core::Forward(registered));
                                return;
                              }
                              if (const auto finished = auth->pending_.Remove(id);
                                  finished && finished->waiter != 0) {
                                auth->AnswerNode(finished->waiter, registered->id);
                              }
                              done(registered->id);
                            });
}

core::Result<> Registration::Approve(std::string_view id) {
  const auto found = Lookup(id, "no pending auth session");
  if (!found) return std::unexpected(found.error());
  return core::Fail(core::ErrorCode::kConflict,
                    "this is the registration of a node, which needs an owner: "
                    "ringscale auth register --auth-id " +
                        (*found)->id + " --user USER");
}

core::Result<> Registration::Reject(std::string_view id) {
  const auto found = Lookup(id, "no pending auth session");
  if (!found) return std::unexpected(found.error());
  if ((*found)->finishing) {
    return core::Fail(core::ErrorCode::kConflict, "this registration is being finished already");
  }
  PendingLogin& login = *pending_.Use((*found)->id);
  if (login.waiter != 0) {
    const auto rejected = pending_.Remove(std::string(login.id));
    AnswerError(rejected->waiter, "registration rejected");
  } else {
    // Told when the client asks next.
    login.rejected = true;
  }
  return {};
}

// --- time ---

void Registration::SetLimits(const PendingLimits& limits) {
  pending_.SetLimits(limits);
  ArmTimer();
}

void Registration::ArmTimer() {
  const auto next = pending_.NextExpiry();
  if (!next || (timer_at_ && *timer_at_ <= *next)) return;
  if (timer_at_) loop_.CancelTimer(timer_);
  timer_at_ = next;
  timer_ = loop_.After(std::max(*next - loop_.Now(), core::Duration{}), [this] { OnTimer(); });
}

void Registration::OnTimer() {
  timer_at_.reset();
  timer_ = {};
  while (auto expired = pending_.TakeExpired(loop_.Now())) {
    const auto waiter = waiting_.find(expired->waiter);
    if (waiter == waiting_.end()) continue;
    // Somebody still waits in front of it: a fresh address goes on from here.
    held_.erase(waiter->second.client.machine_key);
    waiter->second.login.clear();
    StartLogin(expired->waiter);
  }
  ArmTimer();
}

}  // namespace ringscale::control
