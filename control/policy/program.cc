#include "control/policy/program.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "control/policy/text_forms.h"

namespace ringscale::control::policy {
namespace {

using Kind = Alias::Kind;

std::string_view DomainOf(std::string_view email) {
  const auto at = email.rfind('@');
  return at == std::string_view::npos ? std::string_view() : email.substr(at + 1);
}

template <class T>
void SortUnique(std::vector<T>& list) {
  std::ranges::sort(list);
  const auto [first, last] = std::ranges::unique(list);
  list.erase(first, last);
}

std::optional<Role> RoleOf(Autogroup group) {
  switch (group) {
    case Autogroup::kOwner:
      return Role::kOwner;
    case Autogroup::kAdmin:
      return Role::kAdmin;
    case Autogroup::kItAdmin:
      return Role::kItAdmin;
    case Autogroup::kNetworkAdmin:
      return Role::kNetworkAdmin;
    case Autogroup::kBillingAdmin:
      return Role::kBillingAdmin;
    case Autogroup::kAuditor:
      return Role::kAuditor;
    default:
      return std::nullopt;
  }
}

}  // namespace

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
    SortUnique(out);  // by place in users_, which is by id
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
    SortUnique(side.terms);
    SortUnique(side.postures);
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
    SortUnique(rule.via);
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
    SortUnique(rule.literals);
    SortUnique(rule.domains);
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

const PolicyUser* Program::FindUser(UserId id) const {
  const auto at = std::ranges::lower_bound(users_, id, {}, &PolicyUser::id);
  return at != users_.end() && at->id == id ? &*at : nullptr;
}

bool Program::UserMatches(const Alias& alias, const PolicyUser& user) const {
  switch (alias.kind) {
    case Kind::kUser: {
      // headscale writes a login name with an @ behind it.
      std::string_view bare = alias.name;
      if (bare.ends_with('@')) bare.remove_suffix(1);
      if (!user.provider.empty() && bare == user.provider) return true;
      return bare == user.name || alias.name == user.name ||
             (!user.email.empty() && Lower(bare) == Lower(user.email));
    }
    case Kind::kUserDomain:
      return DomainOf(user.email) == alias.name;
    case Kind::kGroup: {
      const auto group = document_->groups.find(alias.name);
      return group != document_->groups.end() &&
             std::ranges::any_of(group->second,
                                 [&](const Alias& member) { return UserMatches(member, user); });
    }
    case Kind::kAutogroup: {
      if (alias.autogroup == Autogroup::kMember) return true;
      const auto role = RoleOf(alias.autogroup);
      return role && *role == user.role;
    }
    default:
      return false;
  }
}

bool Program::SameRules(const Program& other) const {
  if (document_->digest_without_members != other.document_->digest_without_members) return false;
  // A user of the same id is named alike everywhere.
  return std::ranges::all_of(users_, [&](const PolicyUser& user) {
    const PolicyUser* const now = other.FindUser(user.id);
    return now == nullptr || *now == user;
  });
}

std::vector<UserId> Program::UsersUnlike(const Program& other) const {
  std::vector<UserId> out;
  const auto compare = [&](const Program& a, const Program& b) {
    for (const auto& [user, terms] : a.user_terms_) {
      const auto at = b.user_terms_.find(user);
      if (at == b.user_terms_.end() || at->second != terms) out.push_back(user);
    }
  };
  compare(*this, other);
  compare(other, *this);
  SortUnique(out);
  return out;
}

std::vector<TermId> Program::TermsOf(const PolicyNode& node) const {
  std::vector<TermId> out;
  const auto add = [&](const std::vector<TermId>& terms) {
    out.insert(out.end(), terms.begin(), terms.end());
  };
  if (node.tagged()) {
    add(tagged_terms_);
    for (const auto& tag : node.tags) {
      if (const auto at = tag_terms_.find(tag); at != tag_terms_.end()) add(at->second);
    }
  } else {
    add(untagged_terms_);
    if (const auto at = user_terms_.find(node.user); at != user_terms_.end()) add(at->second);
  }
  for (const TermId id : literal_terms_) {
    for (const auto& range : terms_[id].ranges) {
      if (!range.Contains(node.v4) && !range.Contains(node.v6)) continue;
      out.push_back(id);
      break;
    }
  }
  for (const TermId id : posture_terms_) {
    if (MeetsPosture(document_->postures.find(terms_[id].alias.name)->second, node)) {
      out.push_back(id);
    }
  }
  SortUnique(out);
  return out;
}

bool Program::Matches(const Side& side, std::span<const TermId> terms, bool identity) const {
  const auto has = [&](TermId id) { return std::ranges::binary_search(terms, id); };
  if (!side.postures.empty() && std::ranges::none_of(side.postures, has)) return false;
  if (side.all || side.danger_all) return true;
  return std::ranges::any_of(side.terms, [&](TermId id) {
    return (!identity || terms_[id].ranges.empty() || !side.postures.empty()) && has(id);
  });
}

std::optional<Side> Program::SideFor(SideId id, const PostureAttributes& device) const {
  Side side = sides_[id];
  if (side.postures.empty()) return side;
  if (std::ranges::none_of(side.postures, [&](TermId term) {
        return MeetsPosture(document_->postures.find(terms_[term].alias.name)->second, device);
      })) {
    return std::nullopt;
  }
  side.postures.clear();
  for (const TermId term : side.terms) side.literals.Add(terms_[term].ranges);
  return side;
}

bool Program::AliasMatches(const Alias& alias, const PolicyNode& node) const {
  if (alias.is(Kind::kAll)) return true;
  if (alias.is(Kind::kTag)) return std::ranges::find(node.tags, alias.name) != node.tags.end();
  if (alias.is(Autogroup::kTagged)) return node.tagged();
  for (const auto& range : LiteralRanges(*document_, alias)) {
    if (range.Contains(node.v4) || range.Contains(node.v6)) return true;
  }
  if (node.tagged()) return false;
  if (alias.is(Autogroup::kMember)) return true;
  const PolicyUser* const user = FindUser(node.user);
  return user != nullptr && UserMatches(alias, *user);
}

bool Program::MayOwnTag(std::string_view tag, UserId user,
                        std::span<const std::string> tags) const {
  const PolicyUser* const person = FindUser(user);
  std::set<std::string_view> seen;
  std::vector<std::string_view> open = {tag};
  while (!open.empty()) {
    const auto owners = document_->tag_owners.find(open.back());
    open.pop_back();
    if (owners == document_->tag_owners.end() || !seen.insert(owners->first).second) continue;
    for (const auto& owner : owners->second) {
      if (owner.is(Kind::kTag)) {
        if (std::ranges::find(tags, owner.name) != tags.end()) return true;
        open.push_back(owner.name);
      } else if (tags.empty() && person != nullptr && UserMatches(owner, *person)) {
        return true;
      } else if (owner.is(Autogroup::kTagged) && !tags.empty()) {
        return true;
      }
    }
  }
  return false;
}

std::vector<core::IpPrefix> Program::AutoApproved(const PolicyNode& node,
                                                  std::span<const core::IpPrefix> announced) const {
  const auto approves = [&](const std::vector<Alias>& approvers) {
    return std::ranges::any_of(approvers,
                               [&](const Alias& alias) { return AliasMatches(alias, node); });
  };
  std::vector<core::IpPrefix> out;
  for (const auto& prefix : announced) {
    const auto& approvers = document_->auto_approvers;
    const bool approved =
        prefix.IsDefaultRoute()
            ? approves(approvers.exit_node)
            : std::ranges::any_of(approvers.routes, [&](const AutoApprovers::Route& route) {
                return AddressRange::Of(route.prefix).Contains(AddressRange::Of(prefix)) &&
                       approves(route.approvers);
              });
    if (approved) out.push_back(prefix);
  }
  return out;
}

std::vector<core::IpPrefix> Program::AddressPools(const PolicyNode& node) const {
  std::vector<core::IpPrefix> out;
  for (const auto& attribute : document_->node_attributes) {
    if (std::ranges::any_of(attribute.target,
                            [&](const Alias& alias) { return AliasMatches(alias, node); })) {
      out.insert(out.end(), attribute.ip_pool.begin(), attribute.ip_pool.end());
    }
  }
  return out;
}

}  // namespace ringscale::control::policy
