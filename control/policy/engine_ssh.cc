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

// Sources by user, and tagged ones.
struct Engine::SshSources {
  std::map<UserId, std::vector<const PolicyNode*>> users;
  std::vector<const PolicyNode*> tagged;

  void Add(const PolicyNode& node) {
    if (node.tagged()) {
      tagged.push_back(&node);
    } else {
      users[node.user].push_back(&node);
    }
  }
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
      const bool records = std::ranges::any_of(rule.rule->recorders, [&](const Alias& tag) {
        return program_->AliasMatches(tag, node);
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

void Engine::AddSshRules(const SshProgramRule& rule, const PolicyNode& node, SshOutput& out) const {
  const ClassId id = class_of_node_.at(node.id);
  const bool destination = sides_[rule.dst].address.Has(id);
  const bool self = rule.self && !node.tagged();
  const ClassSet& sources = sides_[rule.src].identity;
  if (destination) {
    // The same for all whom the rule names.
    const auto [at, fresh] = ssh_texts_.try_emplace(&rule);
    if (fresh) {
      SshSources all;
      sources.Each([&](ClassId from) {
        for (const NodeId member : classes_[from].members) all.Add(nodes_.at(member));
      });
      WriteSshRules(rule, all, at->second);
    }
    out.check.insert(out.check.end(), at->second.check.begin(), at->second.check.end());
    out.accept.insert(out.accept.end(), at->second.accept.begin(), at->second.accept.end());
    return;
  }
  // With localpart forms the service also tells sources what they may do on
  // devices of their own.
  if (!self && (rule.domains.empty() || !sources.Has(id))) return;
  SshSources own;
  if (node.tagged()) {
    if (sources.Has(id)) own.Add(node);
  } else {
    ClassesOfUser(node.user).Each([&](ClassId from) {
      if (!sources.Has(from)) return;
      for (const NodeId member : classes_[from].members) own.Add(nodes_.at(member));
    });
  }
  WriteSshRules(rule, own, out);
}

void Engine::WriteSshRules(const SshProgramRule& rule, const SshSources& sources,
                           SshOutput& out) const {
  const auto& [users, tagged] = sources;
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
  emit(tagged, logins);
}

std::string Engine::SshPolicy(NodeId id) const {
  SshOutput rules;
  for (const auto& rule : program_->ssh()) AddSshRules(rule, nodes_.at(id), rules);
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

Engine::SshEnds Engine::SshNamed(const SshProgramRule& rule, NodeId src, NodeId dst) const {
  return {.source = sides_[rule.src].identity.Has(ClassOf(src)),
          .destination = SshReaches(rule, src, dst)};
}

bool Engine::SshReaches(const SshProgramRule& rule, NodeId src, NodeId dst) const {
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
    const SshEnds named = SshNamed(rule, src, dst);
    if (rule.rule->check && named.source && named.destination && SshNames(rule, src, user)) {
      return SshCheck{.period = rule.rule->check_period, .approved_action = SshAction(rule, true)};
    }
  }
  return std::nullopt;
}

Engine::SshAnswer Engine::SshVerdict(
    NodeId src, NodeId dst, std::string_view user,
    const std::function<bool(const SshProgramRule&)>& names_source) const {
  SshAnswer answer = SshAnswer::kNo;
  if (user.empty()) return answer;
  for (const auto& rule : program_->ssh()) {
    if (!names_source(rule) || !SshReaches(rule, src, dst) || !SshNames(rule, src, user)) continue;
    if (rule.rule->check) return SshAnswer::kCheck;
    answer = SshAnswer::kAccept;
  }
  return answer;
}

Engine::SshAnswer Engine::SshAllows(NodeId src, NodeId dst, std::string_view user) const {
  const ClassId source = ClassOf(src);
  return SshVerdict(src, dst, user, [&](const SshProgramRule& rule) {
    return sides_[rule.src].identity.Has(source);
  });
}

Engine::SshAnswer Engine::SshAllows(NodeId src, NodeId dst, std::string_view user,
                                    const PostureAttributes& device) const {
  const auto& terms = classes_[ClassOf(src)].terms;
  return SshVerdict(src, dst, user, [&](const SshProgramRule& rule) {
    const auto side = program_->SideFor(rule.src, device);
    return side && program_->Matches(*side, terms, true);
  });
}

}  // namespace ringscale::control::policy
