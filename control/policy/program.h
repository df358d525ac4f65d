// A policy compiled against the users of a tailnet, still without nodes: every
// alias once (a term), every list of sources once (a side), and rules over them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "control/policy/document.h"
#include "control/policy/tailnet.h"

namespace ringscale::control::policy {

using TermId = std::uint32_t;
using SideId = std::uint32_t;

// An alias, or a posture, as a condition that a node meets or does not.
struct Term {
  Alias alias;
  std::vector<AddressRange> ranges;  // of aliases that are addresses
};

// A list of aliases of which a node must match one, and of postures likewise.
struct Side {
  bool all = false;              // *
  bool danger_all = false;       // autogroup:danger-all
  std::vector<TermId> terms;     // sorted, unique; neither of the two above
  std::vector<TermId> postures;  // sorted, unique; empty: no condition
  AddressSet literals;           // addresses among the terms; none when postures are asked for
  // Follows from what the list says, so that it is the same in another policy.
  std::uint64_t name = 0;
  bool operator==(const Side&) const = default;
};

struct RuleDestination {
  enum class Kind : std::uint8_t { kAll, kSelf, kTerm };
  Kind kind = Kind::kTerm;
  TermId term = 0;
  std::vector<PortRange> ports;
};

struct Rule {
  const Grant* grant = nullptr;
  SideId src = 0;
  std::vector<RuleDestination> dst;
  SideId dst_side = 0;      // the destinations other than self, as sources of answers
  std::vector<TermId> via;  // sorted
  bool self = false;        // one of the destinations is autogroup:self
  bool other = false;       // one is not
  // Capabilities of the reversed rule that some capabilities bring along.
  std::vector<AppCapability> companions;
};

struct SshProgramRule {
  const SshRule* rule = nullptr;
  SideId src = 0;
  SideId dst = 0;
  bool self = false;
  // Login names: `users` without autogroup:nonroot and localpart forms.
  bool root = false;
  bool nonroot = false;
  std::vector<std::string> literals;
  std::vector<std::string> domains;  // of localpart:*@domain
};

struct AttributeRule {
  const NodeAttribute* attribute = nullptr;
  SideId target = 0;
  bool disables_ipv4 = false;
};

class Program {
 public:
  // Errors are those that depend on who is in the tailnet.
  static Checked<std::shared_ptr<const Program>> Compile(std::shared_ptr<const Document> document,
                                                         std::vector<PolicyUser> users);

  [[nodiscard]] const Document& document() const { return *document_; }
  [[nodiscard]] const std::vector<Term>& terms() const { return terms_; }
  [[nodiscard]] const std::vector<Side>& sides() const { return sides_; }
  [[nodiscard]] const std::vector<Rule>& rules() const { return rules_; }
  [[nodiscard]] const std::vector<SshProgramRule>& ssh() const { return ssh_; }
  [[nodiscard]] const std::vector<AttributeRule>& attributes() const { return attributes_; }
  [[nodiscard]] const std::vector<PolicyUser>& users() const { return users_; }
  [[nodiscard]] const PolicyUser* FindUser(UserId id) const;
  // Whether the two differ in nothing but the members of groups and users that only
  // one of them knows: terms, sides and rules have the same numbers then.
  [[nodiscard]] bool SameRules(const Program& other) const;
  // Users of whom `other` and this, of the same rules, do not think alike; sorted.
  [[nodiscard]] std::vector<UserId> UsersUnlike(const Program& other) const;
  // Rules speak of "nodes of the same user", so nodes of different users differ.
  [[nodiscard]] bool per_user() const { return per_user_; }

  // The postures that a rule asks for: its own, else those of all rules.
  [[nodiscard]] const std::vector<std::string>& PosturesOf(
      const std::vector<std::string>& own) const {
    return own.empty() ? document_->default_src_posture : own;
  }

  // Some rule has `via`.
  [[nodiscard]] bool steers() const { return steers_; }

  // The terms that a node matches, sorted.
  [[nodiscard]] std::vector<TermId> TermsOf(const PolicyNode& node) const;
  // Whether nodes that match `terms` match the side, by what they are and not by
  // their address when `identity`.
  [[nodiscard]] bool Matches(const Side& side, std::span<const TermId> terms,
                             bool identity = false) const;
  // The side without its postures, for a device that has these attributes; nullopt: it
  // meets none of them.
  [[nodiscard]] std::optional<Side> SideFor(SideId side, const PostureAttributes& device) const;
  // A side for an alias of a test, which need not occur in a rule.
  [[nodiscard]] bool AliasMatches(const Alias& alias, const PolicyNode& node) const;
  // Whether the user, or nodes with these tags, may put the tag on a node.
  [[nodiscard]] bool MayOwnTag(std::string_view tag, UserId user,
                               std::span<const std::string> tags) const;
  // Which of the announced prefixes are approved without anybody being asked.
  [[nodiscard]] std::vector<core::IpPrefix> AutoApproved(
      const PolicyNode& node, std::span<const core::IpPrefix> announced) const;
  // Where the IPv4 addresses of new nodes like this one come from: the pools of all
  // entries that name it, in the order of the policy.
  [[nodiscard]] std::vector<core::IpPrefix> AddressPools(const PolicyNode& node) const;
  [[nodiscard]] bool UserMatches(const Alias& alias, const PolicyUser& user) const;

 private:
  friend class ProgramBuilder;

  std::shared_ptr<const Document> document_;
  std::vector<PolicyUser> users_;  // sorted by id
  std::vector<Term> terms_;
  std::vector<Side> sides_;
  std::vector<Rule> rules_;
  std::vector<SshProgramRule> ssh_;
  std::vector<AttributeRule> attributes_;
  bool per_user_ = false;
  bool steers_ = false;

  // Where a node's terms are looked up.
  std::unordered_map<UserId, std::vector<TermId>> user_terms_;
  std::unordered_map<std::string, std::vector<TermId>> tag_terms_;
  std::vector<TermId> untagged_terms_;
  std::vector<TermId> tagged_terms_;
  std::vector<TermId> literal_terms_;
  std::vector<TermId> posture_terms_;
};

// Whether the server knows this posture attribute of nodes by itself.
bool IsKnownAttribute(std::string_view name);
// Whether a node meets all conditions of a posture.
bool MeetsPosture(const std::vector<PostureCondition>& posture, const PolicyNode& node);
bool MeetsPosture(const std::vector<PostureCondition>& posture,
                  const PostureAttributes& attributes);

}  // namespace ringscale::control::policy
