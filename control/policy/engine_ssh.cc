// tailcfg.SSHPolicy: who may log in where, as whom.
#include <algorithm>
#include <map>

#include "control/policy/engine.h"
#include "core/json/writer.h"

namespace ringscale::control::policy {
namespace {

using core::json::Writer;

std::string_view LocalPart(std::string_view email) {
  return email.substr(0, email.find('@'));
}

bool InDomains(const SshProgramRule& rule, const PolicyUser* user) {
  if (user == nullptr) return false;
  const auto at = user->email.rfind('@');
  return at != std::string::npos &&
         std::ranges::binary_search(rule.domains, user->email.substr(at + 1));
}

}  // namespace

struct Engine::SshOutput {
  std::vector<std::string> check;
  std::vector<std::string> accept;
};

std::string Engine::SshAction(const SshProgramRule& rule, bool approved) const {
  std::string out;
  Writer json(out);
  json.BeginObject();
  if (rule.rule->check && !approved) {
    json.Field("holdAndDelegate", settings_.server_url + std::string(kSshActionPath));
  } else {
    json.Field("accept", true);
    json.Field("allowAgentForwarding", true);
    json.Field("allowLocalPortForwarding", true);
    json.Field("allowRemotePortForwarding", true);
  }
  if (!rule.rule->recorders.empty()) {
    json.Key("recorders").BeginArray();
    for (const auto& [id, node] : nodes_) {
      const bool records = std::ranges::any_of(rule.rule->recorders, [&](const std::string& tag) {
        return std::ranges::find(node.tags, tag) != node.tags.end();
      });
      if (records && node.v4.valid()) json.Plain(node.v4.text() + ":80");
    }
    json.EndArray();
    if (rule.rule->enforce_recorder) {
      json.Key("onRecordingFailure").BeginObject();
      json.Field("RejectSessionWithMessage", "session recording is required but not available");
      json.Field("TerminateSessionWithMessage", "session recording failed");
      json.EndObject();
    }
  }
  json.EndObject();
  return out;
}

void Engine::WriteSshRules(const SshProgramRule& rule, const PolicyNode& node,
                           SshOutput& out) const {
  const ClassId id = class_of_node_.at(node.id);
  const bool destination = sides_[rule.dst].address.Has(id);
  const bool self = rule.self && !node.tagged();
  const bool source = sides_[rule.src].identity.Has(id);
  // With localpart forms the service also tells sources what they may do on
  // devices of their own.
  if (!destination && !self && (rule.domains.empty() || !source)) return;

  // Sources by user, tagged ones (user 0) last.
  std::map<UserId, std::vector<const PolicyNode*>> users;
  std::vector<const PolicyNode*> tagged;
  sides_[rule.src].identity.Each([&](ClassId source_class) {
    for (const NodeId member : classes_[source_class].members) {
      const PolicyNode& from = nodes_.at(member);
      if (!destination) {
        const bool own =
            node.tagged() ? from.id == node.id : !from.tagged() && from.user == node.user;
        if (!own) continue;
      }
      if (from.tagged()) {
        tagged.push_back(&from);
      } else {
        users[from.user].push_back(&from);
      }
    }
  });

  const std::string action = SshAction(rule, false);
  const auto emit = [&](std::vector<const PolicyNode*> nodes,
                        const std::map<std::string, std::string>& logins) {
    if (nodes.empty()) return;
    std::ranges::sort(nodes, {}, &PolicyNode::id);
    std::string text;
    Writer json(text);
    json.BeginObject();
    json.Key("principals").BeginArray();
    for (const auto* from : nodes) {
      for (const auto& ip : {from->v4, from->v6}) {
        if (ip.valid()) json.BeginObject().PlainField("nodeIP", ip.text()).EndObject();
      }
    }
    json.EndArray();
    json.Key("sshUsers").BeginObject();
    for (const auto& [login, local] : logins) json.ForeignKey(login).Value(local);
    json.EndObject();
    json.RawField("action", action);
    if (!rule.rule->accept_env.empty()) {
      json.Key("acceptEnv").BeginArray();
      for (const auto& name : rule.rule->accept_env) json.Value(name);
      json.EndArray();
    }
    json.EndObject();
    (rule.rule->check ? out.check : out.accept).push_back(std::move(text));
  };

  std::map<std::string, std::string> logins = {{"root", rule.root ? "root" : ""}};
  if (rule.nonroot) logins["*"] = "=";
  for (const auto& login : rule.literals) logins[login] = login;
  if (rule.domains.empty()) {
    std::vector<const PolicyNode*> all;
    for (const auto& [user, nodes] : users) all.insert(all.end(), nodes.begin(), nodes.end());
    all.insert(all.end(), tagged.begin(), tagged.end());
    emit(std::move(all), logins);
    return;
  }
  for (const auto& [user_id, nodes] : users) {
    emit(nodes, logins);
    const PolicyUser* const user = program_->FindUser(user_id);
    if (!InDomains(rule, user)) continue;
    const std::string local(LocalPart(user->email));
    emit(nodes, {{local, local}});
  }
  emit(std::move(tagged), logins);
}

std::string Engine::SshPolicy(NodeId id) const {
  SshOutput rules;
  for (const auto& rule : program_->ssh()) WriteSshRules(rule, nodes_.at(id), rules);
  std::string out = "{\"rules\":[";
  // The first that matches counts: who must be checked is not let in before.
  for (const auto* list : {&rules.check, &rules.accept}) {
    for (const auto& rule : *list) {
      if (!out.ends_with('[')) out += ',';
      out += rule;
    }
  }
  return out + "]}";
}

bool Engine::SshSpeaksOf(const SshProgramRule& rule, NodeId src, NodeId dst) const {
  if (!sides_[rule.src].identity.Has(ClassOf(src))) return false;
  if (sides_[rule.dst].address.Has(ClassOf(dst))) return true;
  const PolicyNode& from = nodes_.at(src);
  const PolicyNode& to = nodes_.at(dst);
  const bool same_user = !from.tagged() && !to.tagged() && from.user == to.user;
  // What WriteSshRules says of sources' own devices.
  const bool own = !rule.domains.empty() && (src == dst || same_user) &&
                   sides_[rule.src].identity.Has(ClassOf(dst));
  return own || (rule.self && same_user);
}

bool Engine::SshNames(const SshProgramRule& rule, NodeId src, std::string_view user) const {
  if (user == "root") return rule.root;
  if (rule.nonroot || std::ranges::binary_search(rule.literals, user)) return true;
  const PolicyNode& from = nodes_.at(src);
  const PolicyUser* const person = from.tagged() ? nullptr : program_->FindUser(from.user);
  return InDomains(rule, person) && LocalPart(person->email) == user;
}

std::optional<SshCheck> Engine::SshCheckFor(NodeId src, NodeId dst, std::string_view user) const {
  for (const auto& rule : program_->ssh()) {
    if (rule.rule->check && SshSpeaksOf(rule, src, dst) && SshNames(rule, src, user)) {
      return SshCheck{.period = rule.rule->check_period, .approved_action = SshAction(rule, true)};
    }
  }
  return std::nullopt;
}

Engine::SshAnswer Engine::SshAllows(NodeId src, NodeId dst, std::string_view user) const {
  SshAnswer answer = SshAnswer::kNo;
  if (user.empty()) return answer;
  for (const auto& rule : program_->ssh()) {
    if (!SshSpeaksOf(rule, src, dst) || !SshNames(rule, src, user)) continue;
    if (rule.rule->check) return SshAnswer::kCheck;
    answer = SshAnswer::kAccept;
  }
  return answer;
}

}  // namespace ringscale::control::policy
