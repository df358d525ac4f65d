#include "control/policy/program.h"

#include <algorithm>
#include <set>

#include "control/policy/text_forms.h"
#include "core/base/sort_unique.h"

namespace ringscale::control::policy {
namespace {

using Kind = Alias::Kind;

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
  core::SortUnique(out);
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
  core::SortUnique(out);
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
      } else if (tags.empty() ? person != nullptr && UserMatches(owner, *person)
                              : owner.is(Autogroup::kTagged)) {
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
