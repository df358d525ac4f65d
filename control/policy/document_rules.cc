// The sections of a policy whose entries are rules.
#include <algorithm>

#include "control/policy/document_reader.h"
#include "control/policy/text_forms.h"

namespace ringscale::control::policy {
namespace {

// Reads an entry that must be a string.
Checked<std::string_view> TextOf(const HuValue& value) {
  if (!value.is_string()) {
    return Refuse(value.at, "an entry must be a string, got " + std::string(KindName(value.kind)));
  }
  return std::string_view(value.text);
}

// Capabilities of tailscale.com that a policy may grant.
bool MayGrant(std::string_view name) {
  static constexpr std::string_view kDomain = "tailscale.com/";
  static constexpr std::string_view kAllowed[] = {"cap/drive",      "cap/relay",  "cap/webui",
                                                  "cap/kubernetes", "cap/tsidp",  "cap/secrets",
                                                  "cap/golink",     "cap/dns-sd", "app-connectors"};
  if (!name.starts_with(kDomain)) return !name.starts_with("https://tailscale.com/");
  return std::ranges::find(kAllowed, name.substr(kDomain.size())) != std::end(kAllowed);
}

}  // namespace

Checked<> DocumentReader::AclDestination(const HuValue& text, Grant& grant) {
  auto read = TextOf(text);
  if (!read) return std::unexpected(std::move(read.error()));
  const auto wrong = [&](const std::string& why) {
    return Refuse(text.at, "dst=" + Quoted(text.text) + ": " + why);
  };
  auto split = SplitHostPort(Trim(*read));
  if (!split) return wrong(split.error());
  auto ports = ReadPorts(split->second);
  if (!ports) return wrong(ports.error());
  HuValue host = text;
  host.text = split->first;
  auto alias = OneAlias(host);
  if (!alias) return std::unexpected(std::move(alias.error()));
  grant.dst.push_back({std::move(*alias), std::move(*ports)});
  return {};
}

Checked<> DocumentReader::Acl(const HuValue& object, std::size_t index) {
  Grant& grant = acls_.emplace_back();
  grant.acl = true;
  grant.index = index;
  grant.at = object.at;
  std::string proto;
  Position proto_at = object.at;
  const auto action = [](const HuValue& value) -> Checked<> {
    if (value.is_string() && value.text == "accept") return {};
    std::string shown = value.is_string() ? Quoted(value.text) : std::string(KindName(value.kind));
    return Refuse(value.at, "action=" + shown + " is not supported", {"allowed: \"accept\""});
  };
  const auto destinations = [&](const HuValue& value) {
    return Items(value, "dst",
                 [&](const HuValue& item, std::size_t) { return AclDestination(item, grant); });
  };
  const auto protocol = [&](const HuValue& value) -> Checked<> {
    proto_at = value.at;
    if (value.kind != HuValue::Kind::kNumber) return Text("proto", proto).read(value);
    proto = value.text;
    return {};
  };
  if (auto done = Fields(object, "an entry of acls",
                         {{"action", action},
                          {"proto", protocol},
                          Aliases("src", grant.src),
                          {"dst", destinations},
                          // The names of these two before 2021.
                          Aliases("users", grant.src),
                          {"ports", destinations},
                          Texts("srcposture", grant.src_posture)});
      !done) {
    return done;
  }
  auto number = ReadProtocol(proto);
  if (!number) return Refuse(proto_at, std::move(number.error()));
  if (!HasPorts(*number)) {
    for (const auto& dst : grant.dst) {
      if (!std::ranges::all_of(dst.ports, &PortRange::all)) {
        return Refuse(dst.alias.at, "protocol does not support specific ports: " + Quoted(proto) +
                                        ", only \"*\" is allowed");
      }
    }
  }
  grant.ip.push_back({*number, {}});
  return {};
}

Checked<> DocumentReader::App(const HuValue& object, std::vector<AppCapability>& out) {
  if (!object.is_object()) return Refuse(object.at, "app must be an object");
  for (const auto& member : object.members) {
    if (member.name.contains("://") || !member.name.contains('/')) {
      return Refuse(member.at, "capability name must have the form {domain}/{path}");
    }
    if (!MayGrant(member.name)) {
      return Refuse(member.at, "capability name must not be in the tailscale.com domain");
    }
    AppCapability& app = out.emplace_back();
    app.name = member.name;
    if (!member.value.is_array() && !member.value.is_null()) {
      return Refuse(member.value.at, "the value of a capability must be an array of objects");
    }
    member.value.Write(app.values);
  }
  return {};
}

Checked<> DocumentReader::GrantEntry(const HuValue& object, std::size_t index) {
  Grant& grant = out_.grants.emplace_back();
  grant.index = index;
  grant.at = object.at;
  const auto destinations = [&](const HuValue& value) {
    return Items(value, "dst", [&](const HuValue& item, std::size_t) -> Checked<> {
      auto alias = OneAlias(item);
      if (!alias) return std::unexpected(std::move(alias.error()));
      grant.dst.push_back({std::move(*alias), {}});
      return {};
    });
  };
  const auto ip = [&](const HuValue& value) {
    return Items(value, "ip", [&](const HuValue& item, std::size_t) -> Checked<> {
      auto text = TextOf(item);
      if (!text) return std::unexpected(std::move(text.error()));
      auto spec = ReadIpSpec(*text);
      if (!spec) return Refuse(item.at, std::move(spec.error()));
      grant.ip.push_back(std::move(*spec));
      return {};
    });
  };
  const auto via = [&](const HuValue& value) {
    return Items(value, "via", [&](const HuValue& item, std::size_t) -> Checked<> {
      auto text = TextOf(item);
      if (!text) return std::unexpected(std::move(text.error()));
      if (!Trim(*text).starts_with("tag:")) return Refuse(item.at, "via can only be a tag");
      auto tag = OneAlias(item);
      if (!tag) return std::unexpected(std::move(tag.error()));
      grant.via.push_back(std::move(*tag));
      return {};
    });
  };
  if (auto done = Fields(object, "an entry of grants",
                         {Aliases("src", grant.src),
                          {"dst", destinations},
                          {"ip", ip},
                          {"app", [&](const HuValue& value) { return App(value, grant.app); }},
                          {"via", via},
                          Texts("srcposture", grant.src_posture)});
      !done) {
    return done;
  }
  if (grant.ip.empty() && grant.app.empty()) {
    return Refuse(grant.at, "ip and app can not both be empty");
  }
  return {};
}

Checked<> DocumentReader::CheckPeriod(const HuValue& text, SshRule& rule) {
  auto read = TextOf(text);
  if (!read) return std::unexpected(std::move(read.error()));
  if (*read == "always") {
    rule.check_period = {};
    return {};
  }
  const auto period = ReadGoDuration(*read);
  if (!period) return Refuse(text.at, "time: invalid duration " + Quoted(*read));
  if (period->ns < 0) {
    return Refuse(text.at,
                  "checkPeriod " + GoDurationText(*period) + " must be a positive duration");
  }
  if (*period > core::Seconds(168 * 3600)) {
    return Refuse(text.at, "checkPeriod " + GoDurationText(*period) + " is above the max (168h)");
  }
  rule.check_period = *period;
  return {};
}

Checked<> DocumentReader::Ssh(const HuValue& object, std::size_t index) {
  SshRule& rule = out_.ssh.emplace_back();
  rule.index = index;
  rule.at = object.at;
  rule.check_period = core::Seconds(12 * 3600);
  std::string action;
  Position action_at = object.at;
  std::optional<Position> period_at;
  const auto read_action = [&](const HuValue& value) {
    action_at = value.at;
    return Text("action", action).read(value);
  };
  const auto users = [&](const HuValue& value) {
    return Items(value, "users", [&](const HuValue& item, std::size_t) -> Checked<> {
      auto text = TextOf(item);
      if (!text) return std::unexpected(std::move(text.error()));
      const std::string_view user = Trim(*text);
      if (user.empty() || user == "*") {
        return Refuse(item.at, "user " + Quoted(user) + " is not valid");
      }
      rule.users.emplace_back(user);
      return {};
    });
  };
  const auto accept_env = [&](const HuValue& value) {
    return Items(value, "acceptEnv", [&](const HuValue& item, std::size_t) -> Checked<> {
      auto text = TextOf(item);
      if (!text) return std::unexpected(std::move(text.error()));
      if (text->empty()) return Refuse(item.at, "acceptEnv values cannot be empty");
      rule.accept_env.emplace_back(*text);
      return {};
    });
  };
  const auto recorders = [&](const HuValue& value) {
    return Items(value, "recorder", [&](const HuValue& item, std::size_t) -> Checked<> {
      auto recorder = OneAlias(item);
      if (!recorder) return std::unexpected(std::move(recorder.error()));
      if (!recorder->is(Alias::Kind::kTag)) {
        return Refuse(item.at, "recorder can only be a tag, got: " + Quoted(item.text));
      }
      rule.recorders.push_back(std::move(*recorder));
      return {};
    });
  };
  const auto period = [&](const HuValue& value) {
    period_at = value.at;
    return CheckPeriod(value, rule);
  };
  if (auto done = Fields(object, "an entry of ssh",
                         {{"action", read_action},
                          Aliases("src", rule.src),
                          Aliases("dst", rule.dst),
                          {"users", users},
                          {"checkperiod", period},
                          {"acceptenv", accept_env},
                          Texts("srcposture", rule.src_posture),
                          {"recorder", recorders},
                          Flag("enforcerecorder", rule.enforce_recorder)});
      !done) {
    return done;
  }
  if (action.empty()) return Refuse(action_at, "action must be specified");
  if (action != "accept" && action != "check") {
    return Refuse(action_at, Quoted(action) + " is not a valid action",
                  {"allowed: \"accept\", \"check\""});
  }
  rule.check = action == "check";
  if (period_at && !rule.check) {
    return Refuse(*period_at, "checkPeriod is only valid with action \"check\"");
  }
  if (rule.users.empty()) return Refuse(rule.at, "users must be specified");
  return {};
}

Checked<> DocumentReader::Pool(const HuValue& text, NodeAttribute& attribute) {
  auto read = TextOf(text);
  if (!read) return std::unexpected(std::move(read.error()));
  const auto wrong = [&](std::string_view why) {
    return Refuse(text.at, "IPPool(" + text.text + "): " + std::string(why));
  };
  const auto prefix = core::IpPrefix::Parse(Trim(*read));
  if (!prefix) return wrong("not a prefix");
  const auto range = AddressRange::Of(*prefix);
  static const AddressRange kAll = AddressRange::Of(*core::IpPrefix::Parse("100.64.0.0/10"));
  if (!kAll.Contains(range)) return wrong("network must be within 100.64.0.0/10");
  static const std::vector<AddressRange> kReserved = {
      AddressRange::Of(*core::IpPrefix::Parse("100.100.0.0/24")),
      AddressRange::Of(*core::IpPrefix::Parse("100.100.100.0/24")),
      AddressRange::Of(*core::IpPrefix::Parse("100.115.92.0/23")),
  };
  for (const auto& reserved : kReserved) {
    if (reserved.Overlaps(range)) return wrong("network within reserved range");
  }
  attribute.ip_pool.push_back(*prefix);
  return {};
}

Checked<> DocumentReader::NodeAttr(const HuValue& object, std::size_t index) {
  static_cast<void>(index);
  NodeAttribute& attribute = out_.node_attributes.emplace_back();
  attribute.at = object.at;
  const auto pool = [&](const HuValue& value) {
    return Items(value, "ipPool",
                 [&](const HuValue& item, std::size_t) { return Pool(item, attribute); });
  };
  const auto app = [&](const HuValue& value) -> Checked<> {
    if (!value.is_object()) return Refuse(value.at, "app must be an object");
    for (const auto& member : value.members) {
      AppCapability& capability = attribute.app.emplace_back();
      capability.name = member.name;
      member.value.Write(capability.values);
    }
    return {};
  };
  return Fields(object, "an entry of nodeAttrs",
                {Aliases("target", attribute.target),
                 Texts("attr", attribute.attr),
                 {"app", app},
                 {"ippool", pool}});
}

Checked<> DocumentReader::Test(const HuValue& object, std::size_t index) {
  PolicyTest& test = out_.tests.emplace_back();
  test.index = index;
  test.at = object.at;
  const auto targets = [&](std::vector<PolicyTest::Target>& out) {
    return [&](const HuValue& value) {
      return Items(value, "the list", [&](const HuValue& item, std::size_t) -> Checked<> {
        auto text = TextOf(item);
        if (!text) return std::unexpected(std::move(text.error()));
        out.push_back({std::string(*text), item.at});
        return {};
      });
    };
  };
  return Fields(object, "an entry of tests",
                {Text("src", test.src),
                 Text("user", test.src),  // its name before 2021
                 Text("proto", test.proto),
                 {"accept", targets(test.accept)},
                 {"allow", targets(test.accept)},
                 {"deny", targets(test.deny)},
                 PostureOfSource(test.posture)});
}

Checked<> DocumentReader::SshTestEntry(const HuValue& object, std::size_t index) {
  SshTest& test = out_.ssh_tests.emplace_back();
  test.index = index;
  test.at = object.at;
  const auto read = Fields(
      object, "an entry of sshTests",
      {Text("src", test.src),
       {"dst",
        [&](const HuValue& value) {
          return Items(value, "dst", [&](const HuValue& item, std::size_t) -> Checked<> {
            auto text = TextOf(item);
            if (!text) return std::unexpected(std::move(text.error()));
            auto alias = ReadAlias(*text);
            if (!alias) {
              return Refuse(item.at, "SSH tests dst contains disallowed element " + Quoted(*text));
            }
            alias->at = item.at;
            test.dst.push_back(std::move(*alias));
            return {};
          });
        }},
       Texts("accept", test.accept),
       Texts("deny", test.deny),
       Texts("check", test.check),
       PostureOfSource(test.posture)});
  if (!read) return read;
  if (Trim(test.src).empty()) {
    return Refuse(test.at, "SSH tests entry must have a non-empty src");
  }
  if (test.dst.empty()) return Refuse(test.at, "SSH tests entry must have at least one dst");
  return {};
}

}  // namespace ringscale::control::policy
