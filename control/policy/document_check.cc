// Checks a document against itself: that names are defined, and that every name
// stands in a place that takes it.
#include <algorithm>
#include <functional>
#include <ranges>

#include "control/policy/document_reader.h"
#include "control/policy/text_forms.h"

namespace ringscale::control::policy {
namespace {

bool IsRole(Autogroup group) {
  return group >= Autogroup::kOwner;
}

// People whose devices autogroup:self may speak of.
bool IsPeople(const Alias& alias) {
  switch (alias.kind) {
    case Alias::Kind::kUser:
    case Alias::Kind::kUserDomain:
    case Alias::Kind::kGroup:
      return true;
    case Alias::Kind::kAutogroup:
      return alias.autogroup == Autogroup::kMember || IsRole(alias.autogroup);
    default:
      return false;
  }
}

class Checker {
 public:
  explicit Checker(const Document& document) : document_(document) {}

  Checked<> Run() {
    for (const auto check :
         {&Checker::Groups, &Checker::IpSets, &Checker::Owners, &Checker::Approvers,
          &Checker::Grants, &Checker::Ssh, &Checker::NodeAttributes, &Checker::SshTests}) {
      if (auto done = (this->*check)(); !done) return done;
    }
    return {};
  }

 private:
  // Whether the name is defined; `tag_intro` goes before the error of a tag.
  Checked<> Defined(const Alias& alias, std::string_view intro) {
    using Kind = Alias::Kind;
    const auto missing = [&](std::string_view text) {
      return Refuse(alias.at, std::string(intro) + std::string(text) + Quoted(alias.name));
    };
    if (alias.is(Kind::kTag) && !document_.tag_owners.contains(alias.name)) {
      return missing("tag not found: ");
    }
    if (alias.is(Kind::kGroup) && !document_.groups.contains(alias.name)) {
      return Refuse(alias.at, "group not defined in policy: " + Quoted(alias.name));
    }
    if (alias.is(Kind::kHost) && !document_.hosts.contains(alias.name)) {
      return Refuse(alias.at, "host not defined in policy: " + Quoted(alias.name));
    }
    if (alias.is(Kind::kIpSet) && !document_.ip_sets.contains(alias.name)) {
      return Refuse(alias.at, "ipset not defined in policy: " + Quoted(alias.name));
    }
    return {};
  }

  Checked<> Groups() {
    // The last of the groups is named when several are wrong.
    for (const auto& [name, members] : document_.groups | std::views::reverse) {
      for (const auto& member : members) {
        if (!member.is(Alias::Kind::kGroup)) continue;
        return Refuse(member.at, "groups[" + Quoted(name) + "]: " + Quoted(member.name) +
                                     ": group members cannot be recursive");
      }
    }
    return {};
  }

  Checked<> IpSets() {
    for (const auto& [name, steps] : document_.ip_sets) {
      for (const auto& step : steps) {
        if (auto done = Defined(step.alias, ""); !done) return done;
      }
    }
    return {};
  }

  Checked<> OwnerList(const std::vector<Alias>& owners) {
    for (const auto& owner : owners) {
      if (auto done = Defined(owner, ""); !done) return done;
      if (owner.is(Alias::Kind::kAutogroup) && owner.autogroup != Autogroup::kMember &&
          owner.autogroup != Autogroup::kTagged && !IsRole(owner.autogroup)) {
        return Refuse(owner.at, "invalid owner format: " + Quoted(owner.name));
      }
    }
    return {};
  }

  Checked<> Owners() {
    for (const auto& [tag, owners] : document_.tag_owners) {
      for (const auto& owner : owners) {
        if (owner.is(Alias::Kind::kTag) && !document_.tag_owners.contains(owner.name)) {
          return Refuse(owner.at,
                        "tag " + Quoted(tag) + " references undefined tag " + Quoted(owner.name));
        }
      }
      if (auto done = OwnerList(owners); !done) return done;
    }
    return {};
  }

  Checked<> Approvers() {
    for (const auto& route : document_.auto_approvers.routes) {
      if (auto done = OwnerList(route.approvers); !done) return done;
    }
    if (auto done = OwnerList(document_.auto_approvers.services); !done) return done;
    return OwnerList(document_.auto_approvers.exit_node);
  }

  Checked<> PosturesDefined(const std::vector<std::string>& names, Position at) {
    for (const auto& name : names) {
      if (document_.postures.contains(name)) continue;
      return Refuse(at, "posture not defined in policy: " + Quoted(name));
    }
    return {};
  }

  Checked<> GrantSource(const Alias& src) {
    if (src.is(Alias::Kind::kAutogroup)) {
      switch (src.autogroup) {
        case Autogroup::kInternet:
          return Refuse(src.at, "autogroup:internet can only be used in ACL destinations");
        case Autogroup::kSelf:
          return Refuse(src.at, "\"autogroup:self\" not valid on the src side of a rule");
        case Autogroup::kNonRoot:
          return Refuse(src.at, "autogroup not supported for ACL sources: " + Quoted(src.name) +
                                    ", can be [autogroup:member autogroup:tagged "
                                    "autogroup:danger-all]");
        default:
          break;
      }
    }
    if (src.is(Alias::Kind::kService)) {
      return Refuse(src.at, "services are not valid on the src side of a rule");
    }
    return Defined(src, "src=");
  }

  Checked<> GrantDestination(const Grant& grant, const Alias& dst) {
    if (dst.is(Autogroup::kDangerAll)) {
      return Refuse(dst.at, "cannot use autogroup:danger-all as a dst");
    }
    if (dst.is(Autogroup::kNonRoot) || dst.is(Autogroup::kShared)) {
      return Refuse(dst.at, "autogroup not supported for ACL destinations: " + Quoted(dst.name) +
                                ", can be [autogroup:internet autogroup:member autogroup:tagged "
                                "autogroup:self]");
    }
    if (dst.is(Autogroup::kInternet) && !grant.app.empty()) {
      return Refuse(dst.at, "cannot use app grants with autogroup:internet");
    }
    if (!grant.acl && dst.is(Alias::Kind::kAddress)) {
      const auto prefix = dst.range.prefix();
      if (prefix && prefix->IsDefaultRoute()) {
        return Refuse(dst.at, "dst " + Quoted(dst.name) +
                                  ": to allow all IP addresses, use \"*\" or "
                                  "\"autogroup:internet\"");
      }
    }
    if (dst.is(Autogroup::kSelf)) {
      for (const auto& src : grant.src) {
        if (IsPeople(src) || (grant.acl && src.is(Alias::Kind::kAll))) continue;
        return Refuse(src.at,
                      "autogroup:self can only be used with users, groups, or supported "
                      "autogroups");
      }
    }
    return Defined(dst, grant.acl ? "dst=" + Quoted(dst.name) + ": " : "");
  }

  Checked<> Grants() {
    for (const auto& grant : document_.grants) {
      for (const auto& src : grant.src) {
        if (auto done = GrantSource(src); !done) return done;
      }
      for (const auto& dst : grant.dst) {
        if (auto done = GrantDestination(grant, dst.alias); !done) return done;
      }
      for (const auto& tag : grant.via) {
        if (document_.tag_owners.contains(tag.name)) continue;
        return Refuse(tag.at, "tag " + Quoted(tag.name) + " not found");
      }
      if (auto done = PosturesDefined(grant.src_posture, grant.at); !done) return done;
    }
    return PosturesDefined(document_.default_src_posture, {});
  }

  Checked<> SshSource(const Alias& src) {
    switch (src.kind) {
      case Alias::Kind::kAutogroup:
        if (src.autogroup == Autogroup::kInternet) {
          return Refuse(src.at, "autogroup:internet can only be used in ACL destinations");
        }
        if (src.autogroup != Autogroup::kMember && src.autogroup != Autogroup::kTagged &&
            !IsRole(src.autogroup)) {
          return Refuse(src.at, "autogroup not supported for SSH sources: " + Quoted(src.name) +
                                    ", can be [autogroup:member autogroup:tagged]");
        }
        break;
      case Alias::Kind::kUser:
      case Alias::Kind::kUserDomain:
      case Alias::Kind::kGroup:
      case Alias::Kind::kTag:
        break;
      default:
        return Refuse(src.at, "invalid src " + Quoted(src.name));
    }
    return Defined(src, "");
  }

  Checked<> SshDestination(const SshRule& rule, const Alias& dst) {
    const bool tagged_source = std::ranges::any_of(rule.src, [](const Alias& src) {
      return src.is(Alias::Kind::kTag) || src.is(Autogroup::kTagged);
    });
    switch (dst.kind) {
      case Alias::Kind::kAll:
        return Refuse(dst.at, "invalid dst \"*\"",
                      {"wildcard (*) is not supported as SSH destination; use "
                       "'autogroup:member' for user-owned devices, 'autogroup:tagged' for tagged "
                       "devices, or specific tags/users"});
      case Alias::Kind::kTag:
        break;
      case Alias::Kind::kUser:
        if (tagged_source) {
          return Refuse(dst.at, "tags in SSH source cannot access user-owned devices (" + dst.name +
                                    "); use autogroup:tagged or specific tags as destinations "
                                    "instead");
        }
        if (!std::ranges::all_of(rule.src, [&](const Alias& src) {
              return src.is(Alias::Kind::kUser) && src.name == dst.name;
            })) {
          return Refuse(dst.at, "user destination requires source to contain only that same user " +
                                    Quoted(dst.name) +
                                    "; use autogroup:self instead for same-user SSH access");
        }
        break;
      case Alias::Kind::kAutogroup:
        if (dst.autogroup == Autogroup::kInternet) {
          return Refuse(dst.at, "autogroup:internet can only be used in ACL destinations");
        }
        if (dst.autogroup == Autogroup::kSelf && tagged_source) {
          return Refuse(dst.at,
                        "autogroup:self destination requires source to contain only users or "
                        "groups, not tags or autogroup:tagged");
        }
        if (dst.autogroup == Autogroup::kMember && tagged_source) {
          return Refuse(dst.at,
                        "tags in SSH source cannot access autogroup:member (user-owned devices)");
        }
        if (dst.autogroup != Autogroup::kSelf && dst.autogroup != Autogroup::kMember &&
            dst.autogroup != Autogroup::kTagged) {
          return Refuse(dst.at,
                        "autogroup not supported for SSH destinations: " + Quoted(dst.name) +
                            ", can be [autogroup:member autogroup:tagged autogroup:self]");
        }
        break;
      default:
        return Refuse(dst.at, "invalid dst " + Quoted(dst.name));
    }
    return Defined(dst, "");
  }

  Checked<> Ssh() {
    for (const auto& rule : document_.ssh) {
      for (const auto& src : rule.src) {
        if (auto done = SshSource(src); !done) return done;
      }
      for (const auto& dst : rule.dst) {
        if (auto done = SshDestination(rule, dst); !done) return done;
      }
      for (const auto& recorder : rule.recorders) {
        if (auto done = Defined(recorder, ""); !done) return done;
      }
      if (auto done = PosturesDefined(rule.src_posture, rule.at); !done) return done;
    }
    return {};
  }

  Checked<> NodeAttributes() {
    for (const auto& attribute : document_.node_attributes) {
      for (const auto& target : attribute.target) {
        if (target.is(Alias::Kind::kAutogroup) && target.autogroup != Autogroup::kMember &&
            target.autogroup != Autogroup::kTagged && !IsRole(target.autogroup)) {
          return Refuse(target.at,
                        "nodeAttrs target does not support this autogroup: " + Quoted(target.name) +
                            ", can be [autogroup:member autogroup:tagged]");
        }
        if (auto done = Defined(target, ""); !done) return done;
      }
    }
    return {};
  }

  Checked<> SshTests() {
    for (const auto& test : document_.ssh_tests) {
      const auto src = ReadAlias(test.src);
      if (src && src->is(Alias::Kind::kAutogroup) && src->autogroup != Autogroup::kMember &&
          src->autogroup != Autogroup::kTagged) {
        return Refuse(test.at, "SSH tests src contains disallowed element " + Quoted(test.src));
      }
      for (const auto& dst : test.dst) {
        if (dst.is(Alias::Kind::kTag) && !document_.tag_owners.contains(dst.name)) {
          return Refuse(dst.at, "SSH tests dst contains unknown tag " + Quoted(dst.name));
        }
        if (dst.is(Alias::Kind::kAll) || (dst.is(Alias::Kind::kAddress) && !dst.range.single())) {
          return Refuse(dst.at, "SSH tests dst contains disallowed element " + Quoted(dst.name));
        }
      }
    }
    return {};
  }

  const Document& document_;
};

// Rules name a group, whoever is in it.
std::uint64_t DigestWithoutMembers(const HuValue& root) {
  std::string text;
  for (const auto& member : root.members) {
    text += Lower(member.name) + '\n';
    if (Lower(member.name) == "groups") {
      for (const auto& group : member.value.members) text += group.name + '\n';
    } else {
      member.value.Write(text);
    }
  }
  return std::hash<std::string>()(text);
}

}  // namespace

Checked<Document> ParseDocument(std::string_view text, const DocumentLimits& limits) {
  auto root = ParseHuJson(text);
  if (!root) return std::unexpected(std::move(root.error()));
  Document document;
  if (auto done = DocumentReader(document, limits).Read(*root); !done) {
    return std::unexpected(std::move(done.error()));
  }
  if (auto done = Checker(document).Run(); !done) return std::unexpected(std::move(done.error()));
  if (auto done = ResolveIpSets(document, limits); !done) {
    return std::unexpected(std::move(done.error()));
  }
  document.digest_without_members = DigestWithoutMembers(*root);
  return document;
}

}  // namespace ringscale::control::policy
