// From a document and the users of a tailnet to a program.
#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_map>

#include "control/policy/program.h"
#include "control/policy/text_forms.h"
#include "core/base/sort_unique.h"

namespace ringscale::control::policy {

using Kind = Alias::Kind;

class ProgramBuilder {
 public:
  explicit ProgramBuilder(Program& out) : out_(out), document_(*out.document_) {}

  Checked<> Build() {
    IndexUsers();
    if (auto done = Users(); !done) return done;
    if (document_.allow_all) AllowAll();
    for (const auto& grant : document_.grants) AddRule(grant);
    for (const auto& rule : document_.ssh) AddSsh(rule);
    for (const auto& attribute : document_.node_attributes) {
      const bool disables_ipv4 =
          std::ranges::find(attribute.attr, "disable-ipv4") != attribute.attr.end();
      out_.attributes_.push_back({&attribute, MakeSide(attribute.target, {}), disables_ipv4});
    }
    Lookups();
    return {};
  }

 private:
  void IndexUsers() {
    for (const auto& user : out_.users_) {
      identifiers_.emplace(user.name, &user);
      if (!user.email.empty()) identifiers_.emplace(Lower(user.email), &user);
      if (!user.provider.empty()) identifiers_.emplace(user.provider, &user);
    }
  }

  // The users whom an alias that is no address stands for, by id.
  std::vector<const PolicyUser*> Meant(const Alias& alias) const {
    std::vector<const PolicyUser*> out;
    if (alias.is(Kind::kGroup)) {
      const auto group = document_.groups.find(alias.name);
      if (group == document_.groups.end()) return out;
      for (const auto& member : group->second) {
        const auto meant = Meant(member);
        out.insert(out.end(), meant.begin(), meant.end());
      }
    } else if (alias.is(Kind::kUser)) {
      std::string_view bare = alias.name;
      if (bare.ends_with('@')) bare.remove_suffix(1);
      for (const auto& name : {alias.name, std::string(bare), Lower(bare)}) {
        const auto [first, last] = identifiers_.equal_range(name);
        for (auto at = first; at != last; ++at) {
          if (out_.UserMatches(alias, *at->second)) out.push_back(at->second);
        }
      }
    } else {
      for (const auto& user : out_.users_) {
        if (out_.UserMatches(alias, user)) out.push_back(&user);
      }
    }
    core::SortUnique(out);  // by place in users_, which is by id
    return out;
  }

  // Users whom a name in the policy could mean.
  Checked<> OneUser(const Alias& alias) {
    if (!alias.is(Kind::kUser)) return {};
    const auto found = Meant(alias);
    if (found.size() < 2) return {};
    // The provider's identifier is unique and wins.
    if (std::ranges::any_of(found, [&](const PolicyUser* user) {
          return !user->provider.empty() && alias.name.starts_with(user->provider);
        })) {
      return {};
    }
    std::string names;
    for (const auto* user : found) names += (names.empty() ? "" : ", ") + user->name;
    return Refuse(alias.at,
                  "multiple users found: token " + Quoted(alias.name) + " found: " + names);
  }

  Checked<> Domain(std::string_view domain, Position at) {
    for (const auto& user : out_.users_) {
      if (DomainOf(user.email) == domain) return {};
    }
    return Refuse(at, std::string(domain) +
                          " is not associated with this Tailnet and cannot be used in "
                          "user:*@<domain> expressions");
  }

  Checked<> People(const std::vector<Alias>& aliases) {
    for (const auto& alias : aliases) {
      if (auto done = OneUser(alias); !done) return done;
      if (!alias.is(Kind::kUserDomain)) continue;
      if (auto done = Domain(alias.name, alias.at); !done) return done;
    }
    return {};
  }

  Checked<> Users() {
    for (const auto* map : {&document_.groups, &document_.tag_owners}) {
      for (const auto& [name, members] : *map) {
        if (auto done = People(members); !done) return done;
      }
    }
    for (const auto& route : document_.auto_approvers.routes) {
      if (auto done = People(route.approvers); !done) return done;
    }
    if (auto done = People(document_.auto_approvers.exit_node); !done) return done;
    for (const auto& grant : document_.grants) {
      if (auto done = People(grant.src); !done) return done;
      for (const auto& dst : grant.dst) {
        if (auto done = People({dst.alias}); !done) return done;
      }
    }
    for (const auto& rule : document_.ssh) {
      if (auto done = People(rule.src); !done) return done;
      if (auto done = People(rule.dst); !done) return done;
      for (const auto& user : rule.users) {
        const auto domain = LocalpartDomain(user);
        if (!domain) continue;
        if (auto done = Domain(*domain, rule.at); !done) return done;
      }
    }
    for (const auto& attribute : document_.node_attributes) {
      if (auto done = People(attribute.target); !done) return done;
    }
    return {};
  }

  TermId MakeTerm(const Alias& alias) {
    const auto key =
        std::tuple(static_cast<int>(alias.kind), static_cast<int>(alias.autogroup), alias.name);
    const auto [at, fresh] = term_index_.try_emplace(key, static_cast<TermId>(out_.terms_.size()));
    if (fresh) out_.terms_.push_back({alias, LiteralRanges(document_, alias)});
    return at->second;
  }

  TermId PostureTerm(const std::string& name) {
    const auto [at, fresh] =
        posture_index_.try_emplace(name, static_cast<TermId>(out_.terms_.size()));
    if (fresh) {
      Term& term = out_.terms_.emplace_back();
      term.alias.name = name;
      out_.posture_terms_.push_back(at->second);
    }
    return at->second;
  }

  SideId AddSide(Side side) {
    core::SortUnique(side.terms);
    core::SortUnique(side.postures);
    // A posture asks for nodes; addresses that are not nodes' cannot have one.
    if (side.postures.empty()) {
      for (const TermId term : side.terms) side.literals.Add(out_.terms_[term].ranges);
    }
    const auto key = std::tuple(side.all, side.danger_all, side.terms, side.postures);
    const auto [at, fresh] = side_index_.try_emplace(key, static_cast<SideId>(out_.sides_.size()));
    if (!fresh) return at->second;
    side.name = NameOf(side);
    out_.sides_.push_back(std::move(side));
    return at->second;
  }

  std::uint64_t NameOf(const Side& side) const {
    std::vector<std::string> parts;
    for (const auto* list : {&side.terms, &side.postures}) {
      for (const TermId id : *list) {
        const Alias& alias = out_.terms_[id].alias;
        parts.push_back(std::to_string(static_cast<int>(alias.kind)) + alias.text());
      }
      std::ranges::sort(parts);
      parts.emplace_back();
    }
    std::string text = side.all ? "*" : side.danger_all ? "!" : "";
    for (const auto& part : parts) text += "\n" + part;
    return std::hash<std::string>()(text);
  }

  SideId MakeSide(const std::vector<Alias>& aliases, const std::vector<std::string>& postures) {
    Side side;
    for (const auto& alias : aliases) {
      if (alias.is(Kind::kAll)) {
        side.all = true;
      } else if (alias.is(Autogroup::kDangerAll)) {
        side.danger_all = true;
      } else if (!alias.is(Autogroup::kSelf)) {
        side.terms.push_back(MakeTerm(alias));
      }
    }
    for (const auto& name : postures) side.postures.push_back(PostureTerm(name));
    return AddSide(std::move(side));
  }

  void AddRule(const Grant& grant) {
    // One end missing: the rule speaks of nobody.
    if (grant.src.empty() || grant.dst.empty()) return;
    Rule& rule = out_.rules_.emplace_back();
    rule.grant = &grant;
    rule.src = MakeSide(grant.src, out_.PosturesOf(grant.src_posture));
    std::vector<Alias> others;
    for (const auto& dst : grant.dst) {
      auto& made = rule.dst.emplace_back();
      made.ports = dst.ports;
      if (dst.alias.is(Autogroup::kSelf)) {
        made.kind = RuleDestination::Kind::kSelf;
        rule.self = true;
        continue;
      }
      rule.other = true;
      others.push_back(dst.alias);
      if (dst.alias.is(Kind::kAll)) {
        made.kind = RuleDestination::Kind::kAll;
      } else {
        made.term = MakeTerm(dst.alias);
      }
    }
    rule.dst_side = MakeSide(others, {});
    for (const auto& tag : grant.via) rule.via.push_back(MakeTerm(tag));
    core::SortUnique(rule.via);
    out_.steers_ = out_.steers_ || !rule.via.empty();
    for (const auto& app : grant.app) {
      // The other end learns that it is one.
      if (app.name == "tailscale.com/cap/drive") {
        rule.companions.push_back({"tailscale.com/cap/drive-sharer", "null"});
      } else if (app.name == "tailscale.com/cap/relay") {
        rule.companions.push_back({"tailscale.com/cap/relay-target", "null"});
      }
    }
    out_.per_user_ = out_.per_user_ || rule.self;
  }

  // Without `acls` and `grants` the service behaves as with one rule from all to all.
  void AllowAll() {
    static const Grant kAll = [] {
      Grant grant;
      grant.acl = true;
      grant.src.emplace_back();
      grant.dst.push_back({Alias{}, {PortRange{}}});
      grant.ip.emplace_back();
      return grant;
    }();
    AddRule(kAll);
  }

  void AddSsh(const SshRule& source) {
    if (source.src.empty() || source.dst.empty()) return;
    SshProgramRule& rule = out_.ssh_.emplace_back();
    rule.rule = &source;
    rule.src = MakeSide(source.src, out_.PosturesOf(source.src_posture));
    rule.dst = MakeSide(source.dst, {});
    rule.self =
        std::ranges::any_of(source.dst, [](const Alias& dst) { return dst.is(Autogroup::kSelf); });
    for (const auto& user : source.users) {
      if (user == "root") {
        rule.root = true;
      } else if (user == "autogroup:nonroot") {
        rule.nonroot = true;
      } else if (const auto domain = LocalpartDomain(user)) {
        rule.domains.emplace_back(*domain);
      } else {
        rule.literals.push_back(user);
      }
    }
    core::SortUnique(rule.literals);
    core::SortUnique(rule.domains);
    out_.per_user_ = out_.per_user_ || rule.self || !rule.domains.empty();
  }

  void Lookups() {
    for (TermId id = 0; id < out_.terms_.size(); ++id) {
      if (std::ranges::find(out_.posture_terms_, id) != out_.posture_terms_.end()) continue;
      const Alias& alias = out_.terms_[id].alias;
      if (alias.is(Kind::kTag)) {
        out_.tag_terms_[alias.name].push_back(id);
      } else if (alias.is(Autogroup::kMember)) {
        out_.untagged_terms_.push_back(id);
      } else if (alias.is(Autogroup::kTagged)) {
        out_.tagged_terms_.push_back(id);
      } else if (!out_.terms_[id].ranges.empty()) {
        out_.literal_terms_.push_back(id);
      } else {
        for (const PolicyUser* user : Meant(alias)) out_.user_terms_[user->id].push_back(id);
      }
    }
  }

  Program& out_;
  const Document& document_;
  std::unordered_multimap<std::string, const PolicyUser*> identifiers_;
  std::map<std::tuple<int, int, std::string>, TermId> term_index_;
  std::map<std::string, TermId> posture_index_;
  std::map<std::tuple<bool, bool, std::vector<TermId>, std::vector<TermId>>, SideId> side_index_;
};

Checked<std::shared_ptr<const Program>> Program::Compile(std::shared_ptr<const Document> document,
                                                         std::vector<PolicyUser> users) {
  auto program = std::make_shared<Program>();
  program->document_ = std::move(document);
  program->users_ = std::move(users);
  std::ranges::sort(program->users_, {}, &PolicyUser::id);
  if (auto done = ProgramBuilder(*program).Build(); !done) {
    return std::unexpected(std::move(done.error()));
  }
  return std::shared_ptr<const Program>(std::move(program));
}

}  // namespace ringscale::control::policy
