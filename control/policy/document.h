// A policy as it was written, checked for everything that does not depend on the
// tailnet's users and nodes. Nothing in here changes after parsing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/derp/derp_map.h"
#include "control/dns/dns_settings.h"
#include "control/policy/address_set.h"
#include "control/policy/error.h"
#include "core/base/time.h"

namespace ringscale::control::policy {

enum class Autogroup : std::uint8_t {
  kInternet,
  kSelf,
  kMember,
  kTagged,
  kDangerAll,
  kNonRoot,
  kShared,
  kOwner,
  kAdmin,
  kItAdmin,
  kNetworkAdmin,
  kBillingAdmin,
  kAuditor,
};

// A name that stands for nodes, people or addresses.
struct Alias {
  enum class Kind : std::uint8_t {
    kAll,         // *
    kUser,        // alice@example.com, alice@
    kUserDomain,  // user:*@example.com
    kGroup,       // group:x
    kTag,         // tag:x
    kHost,        // a name of `hosts`
    kAddress,     // an address, a prefix, or first-last
    kAutogroup,   // autogroup:x
    kIpSet,       // ipset:x
    kService,     // svc:x
  };
  Kind kind = Kind::kAll;
  Autogroup autogroup = Autogroup::kMember;  // of kAutogroup
  std::string name;                          // as written, trimmed; kUserDomain: the domain
  AddressRange range;                        // of kAddress
  Position at;

  [[nodiscard]] bool is(Kind wanted) const { return kind == wanted; }
  [[nodiscard]] bool is(Autogroup wanted) const {
    return kind == Kind::kAutogroup && autogroup == wanted;
  }
  // How errors show it.
  [[nodiscard]] std::string text() const;
};

struct PortRange {
  std::uint16_t first = 0;
  std::uint16_t last = 65535;
  auto operator<=>(const PortRange&) const = default;
  [[nodiscard]] bool all() const { return first == 0 && last == 65535; }
};

// Protocol and ports of a rule. No protocol: TCP, UDP and ICMP, as clients take
// a rule without IPProto.
struct IpSpec {
  std::optional<std::uint8_t> protocol;
  std::vector<PortRange> ports;
};

struct AppCapability {
  std::string name;
  std::string values;  // a JSON array
};

struct Destination {
  Alias alias;
  std::vector<PortRange> ports;  // empty in a grant: `ip` has them
};

// An entry of `grants`, or one of `acls`, which is a grant whose ports belong to
// its destinations.
struct Grant {
  bool acl = false;
  std::size_t index = 0;  // in its section
  Position at;
  std::vector<Alias> src;
  std::vector<Destination> dst;
  std::vector<IpSpec> ip;  // of an ACL: one, without ports
  std::vector<AppCapability> app;
  std::vector<Alias> via;  // tags
  std::vector<std::string> src_posture;
};

struct SshRule {
  std::size_t index = 0;
  Position at;
  bool check = false;
  std::vector<Alias> src;
  std::vector<Alias> dst;
  std::vector<std::string> users;  // as written, trimmed
  core::Duration check_period{};   // zero: every time
  std::vector<std::string> accept_env;
  std::vector<std::string> src_posture;
  std::vector<Alias> recorders;  // tags of nodes that record sessions
  bool enforce_recorder = false;
};

struct NodeAttribute {
  Position at;
  std::vector<Alias> target;
  std::vector<std::string> attr;
  std::vector<AppCapability> app;
  std::vector<core::IpPrefix> ip_pool;
};

struct AutoApprovers {
  struct Route {
    core::IpPrefix prefix;
    std::vector<Alias> approvers;
  };
  std::vector<Route> routes;
  std::vector<Alias> exit_node;
  std::vector<Alias> services;  // of all services together
};

// What postures are to think of a device, by attribute.
using PostureAttributes = std::map<std::string, std::string, std::less<>>;

struct PolicyTest {
  struct Target {
    std::string text;  // "alias:port"
    Position at;
  };
  std::size_t index = 0;
  Position at;
  std::string src;
  std::string proto;
  PostureAttributes posture;  // of the source
  std::vector<Target> accept;
  std::vector<Target> deny;
};

struct SshTest {
  std::size_t index = 0;
  Position at;
  std::string src;
  PostureAttributes posture;  // of the source
  std::vector<Alias> dst;
  std::vector<std::string> accept;
  std::vector<std::string> deny;
  std::vector<std::string> check;
};

// node:os == 'linux' and the like: one condition of a posture.
struct PostureCondition {
  enum class Op : std::uint8_t {
    kEqual,
    kNotEqual,
    kLess,
    kLessEqual,
    kGreater,
    kGreaterEqual,
    kIn,
    kNotIn,
    kIsSet,
    kNotSet
  };
  std::string attribute;
  Op op = Op::kEqual;
  std::vector<std::string> values;
};

// An entry of an ipset, in the order of the document.
struct IpSetStep {
  Alias alias;
  bool remove = false;
};

struct Document {
  template <class T>
  using Names = std::map<std::string, T, std::less<>>;

  Names<std::vector<Alias>> groups;  // members: users
  Names<AddressRange> hosts;
  Names<std::vector<IpSetStep>> ip_sets;           // of addresses, hosts and other sets; no circles
  Names<std::vector<AddressRange>> ip_set_ranges;  // what they come to
  Names<std::vector<Alias>> tag_owners;
  Names<std::vector<PostureCondition>> postures;
  std::vector<std::string> default_src_posture;

  // Neither `acls` nor `grants` written: everybody may reach everybody.
  bool allow_all = false;
  std::vector<Grant> grants;  // of `grants`, then of `acls`
  std::vector<SshRule> ssh;
  std::vector<NodeAttribute> node_attributes;
  AutoApprovers auto_approvers;
  std::vector<PolicyTest> tests;
  std::vector<SshTest> ssh_tests;

  bool randomize_client_port = false;
  bool disable_ipv4 = false;
  std::optional<bool> one_cgnat_route;
  std::optional<DerpOverlay> derp_map;
  std::vector<DnsRecord> extra_dns_records;

  // Of everything but who is in the groups: the same, however it is laid out.
  std::uint64_t digest_without_members = 0;
};

// The bounds of a policy. Reaching one is an error that names it.
struct DocumentLimits {
  std::size_t max_groups = 10'000;
  std::size_t max_rules = 20'000;
  std::size_t max_aliases = 200'000;  // in all lists together
  std::size_t max_dns_records = 10'000;
  std::size_t max_set_ranges = 1'000'000;  // in all ipsets together
};

// Reads a policy (HuJSON). Everything that is wrong regardless of the tailnet is
// found here: form, unknown names, combinations that the language forbids.
Checked<Document> ParseDocument(std::string_view text, const DocumentLimits& limits = {});

// Works out ip_set_ranges. Errors: circles, names that are not defined, bounds.
Checked<> ResolveIpSets(Document& document, const DocumentLimits& limits);

// The addresses that an alias stands for without looking at nodes.
std::vector<AddressRange> LiteralRanges(const Document& document, const Alias& alias);

}  // namespace ringscale::control::policy
