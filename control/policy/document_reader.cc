#include "control/policy/document_reader.h"

#include <algorithm>

#include "control/policy/text_forms.h"
#include "control/state/tags.h"

namespace ringscale::control::policy {
namespace {

std::unexpected<PolicyError> WrongKind(const HuValue& value, std::string_view what,
                                       std::string_view wanted) {
  return Refuse(value.at, std::string(what) + " must be " + std::string(wanted) + ", got " +
                              std::string(KindName(value.kind)));
}

bool IsGroupName(std::string_view name) {
  return name.starts_with("group:") && name.size() > 6;
}

}  // namespace

Checked<> DocumentReader::Fields(const HuValue& object, std::string_view what,
                                 const std::vector<Field>& fields) {
  if (!object.is_object()) return WrongKind(object, what, "an object");
  std::vector<std::string_view> seen;
  for (const auto& member : object.members) {
    const std::string name = Lower(member.name);
    const auto field = std::ranges::find(fields, name, &Field::name);
    if (field == fields.end()) {
      // Entries may be annotated with members whose name begins with '#'.
      if (member.name.starts_with('#')) continue;
      std::string allowed;
      for (const auto& known : fields) {
        allowed += (allowed.empty() ? "allowed: " : ", ") + std::string(known.name);
      }
      return Refuse(member.at, "unknown field: " + Quoted(member.name), {std::move(allowed)});
    }
    if (std::ranges::find(seen, field->name) != seen.end()) {
      return Refuse(member.at, "duplicate member name " + Quoted(member.name));
    }
    seen.push_back(field->name);
    if (member.value.is_null()) continue;
    if (auto done = field->read(member.value); !done) return done;
  }
  return {};
}

Checked<> DocumentReader::Items(const HuValue& array, std::string_view what,
                                const std::function<Checked<>(const HuValue&, std::size_t)>& read) {
  if (!array.is_array()) return WrongKind(array, what, "an array");
  for (std::size_t i = 0; i < array.items.size(); ++i) {
    if (auto done = read(array.items[i], i); !done) return done;
  }
  return {};
}

DocumentReader::Field DocumentReader::Text(std::string_view name, std::string& out) {
  return {name, [&out, name](const HuValue& value) -> Checked<> {
            if (!value.is_string()) return WrongKind(value, name, "a string");
            out = value.text;
            return {};
          }};
}

DocumentReader::Field DocumentReader::Flag(std::string_view name, bool& out) {
  return {name, [&out, name](const HuValue& value) -> Checked<> {
            if (value.kind != HuValue::Kind::kBool) return WrongKind(value, name, "true or false");
            out = value.boolean;
            return {};
          }};
}

DocumentReader::Field DocumentReader::Texts(std::string_view name, std::vector<std::string>& out) {
  return {name, [this, &out, name](const HuValue& value) {
            return Items(value, name, [&](const HuValue& item, std::size_t) -> Checked<> {
              if (!item.is_string()) return WrongKind(item, "an entry", "a string");
              out.push_back(item.text);
              return {};
            });
          }};
}

DocumentReader::Field DocumentReader::Aliases(std::string_view name, std::vector<Alias>& out) {
  return {name, [this, &out, name](const HuValue& value) { return ReadAliases(value, name, out); }};
}

Checked<Alias> DocumentReader::OneAlias(const HuValue& text) {
  if (!text.is_string()) return WrongKind(text, "an alias", "a string");
  if (++aliases_ > limits_.max_aliases) {
    return Refuse(text.at, "too many entries: the limit is " + std::to_string(limits_.max_aliases));
  }
  auto alias = ReadAlias(text.text);
  if (!alias) return Refuse(text.at, std::move(alias.error()));
  alias->at = text.at;
  return std::move(*alias);
}

Checked<> DocumentReader::ReadAliases(const HuValue& array, std::string_view what,
                                      std::vector<Alias>& out) {
  return Items(array, what, [&](const HuValue& item, std::size_t) -> Checked<> {
    auto alias = OneAlias(item);
    if (!alias) return std::unexpected(std::move(alias.error()));
    out.push_back(std::move(*alias));
    return {};
  });
}

Checked<> DocumentReader::CountRule(Position at) {
  if (++rules_ <= limits_.max_rules) return {};
  return Refuse(at, "too many rules: the limit is " + std::to_string(limits_.max_rules));
}

Checked<> DocumentReader::Read(const HuValue& root) {
  const auto each = [this](auto read) {
    return [this, read](const HuValue& array) {
      return Items(array, "the section", [this, read](const HuValue& item, std::size_t index) {
        if (auto counted = CountRule(item.at); !counted) return counted;
        return (this->*read)(item, index);
      });
    };
  };
  const auto rules = [this, each](auto read) {
    return [this, array = each(read)](const HuValue& value) {
      wrote_rules_ = true;
      return array(value);
    };
  };
  const auto one = [this](auto read) {
    return [this, read](const HuValue& value) { return (this->*read)(value); };
  };
  const std::vector<Field> fields = {
      {"groups", one(&DocumentReader::Groups)},
      {"hosts", one(&DocumentReader::Hosts)},
      {"ipsets", one(&DocumentReader::IpSets)},
      {"tagowners", one(&DocumentReader::TagOwners)},
      {"postures", one(&DocumentReader::Postures)},
      Texts("defaultsrcposture", out_.default_src_posture),
      {"autoapprovers", one(&DocumentReader::AutoApprove)},
      {"acls", rules(&DocumentReader::Acl)},
      {"grants", rules(&DocumentReader::GrantEntry)},
      {"ssh", each(&DocumentReader::Ssh)},
      {"nodeattrs", each(&DocumentReader::NodeAttr)},
      {"tests", each(&DocumentReader::Test)},
      {"sshtests", each(&DocumentReader::SshTestEntry)},
      Flag("randomizeclientport", out_.randomize_client_port),
      Flag("disableipv4", out_.disable_ipv4),
      {"onecgnatroute", one(&DocumentReader::OneCgnatRoute)},
      {"derpmap", one(&DocumentReader::Derp)},
      {"extradnsrecords", one(&DocumentReader::DnsRecords)},
  };
  if (auto done = Fields(root, "a policy", fields); !done) return done;
  out_.allow_all = !wrote_rules_;
  std::ranges::move(acls_, std::back_inserter(out_.grants));
  return {};
}

Checked<> DocumentReader::Groups(const HuValue& object) {
  if (!object.is_object()) return WrongKind(object, "groups", "an object");
  if (object.members.size() > limits_.max_groups) {
    return Refuse(object.at, "too many groups: the limit is " + std::to_string(limits_.max_groups));
  }
  for (const auto& member : object.members) {
    if (!IsGroupName(member.name)) {
      return Refuse(member.at, "group must start with 'group:', got: " + Quoted(member.name));
    }
    if (!member.value.is_array()) {
      const std::string shown = member.value.is_string() ? ": " + Quoted(member.value.text) : "";
      return Refuse(member.value.at, "group value must be an array of users: group " +
                                         Quoted(member.name) + " got " +
                                         std::string(KindName(member.value.kind)) + shown);
    }
    auto& users = out_.groups[member.name];
    for (const auto& item : member.value.items) {
      if (!item.is_string()) {
        return Refuse(item.at, "invalid group member type: group " + Quoted(member.name) +
                                   " expected string but got " + std::string(KindName(item.kind)));
      }
      const std::string_view name = Trim(item.text);
      Alias alias;
      alias.kind = name.starts_with("group:") ? Alias::Kind::kGroup : Alias::Kind::kUser;
      if (name.starts_with("user:*@")) {
        auto domain = OneAlias(item);
        if (!domain) return std::unexpected(std::move(domain.error()));
        alias = std::move(*domain);
      } else if (alias.kind == Alias::Kind::kUser && !name.contains('@')) {
        return Refuse(item.at, "username must contain @, got: " + Quoted(item.text));
      } else {
        alias.name = name;
      }
      alias.at = item.at;
      users.push_back(std::move(alias));
    }
  }
  return {};
}

Checked<> DocumentReader::Hosts(const HuValue& object) {
  if (!object.is_object()) return WrongKind(object, "hosts", "an object");
  for (const auto& member : object.members) {
    if (member.name.empty() || member.name.contains(':') || member.name.contains('@')) {
      return Refuse(member.at, "invalid hostname: " + Quoted(member.name));
    }
    const auto range = ReadRange(Trim(member.value.text));
    if (!member.value.is_string() || !range || !range->prefix()) {
      return Refuse(member.value.at, "hostname contains invalid IP address: hostname " +
                                         Quoted(member.name) + " address " +
                                         Quoted(member.value.text));
    }
    out_.hosts[member.name] = *range;
  }
  return {};
}

Checked<> DocumentReader::Approvers(const HuValue& array, std::vector<Alias>& out) {
  return Items(array, "the list", [&](const HuValue& item, std::size_t) -> Checked<> {
    auto alias = OneAlias(item);
    if (!alias) return std::unexpected(std::move(alias.error()));
    if (alias->is(Alias::Kind::kHost) || alias->is(Alias::Kind::kAddress) ||
        alias->is(Alias::Kind::kAll)) {
      return Refuse(item.at, "invalid owner format: " + Quoted(item.text));
    }
    out.push_back(std::move(*alias));
    return {};
  });
}

Checked<> DocumentReader::TagOwners(const HuValue& object) {
  if (!object.is_object()) return WrongKind(object, "tagOwners", "an object");
  for (const auto& member : object.members) {
    if (!member.name.starts_with("tag:")) {
      return Refuse(member.at, "tag must start with 'tag:', got: " + Quoted(member.name));
    }
    if (!IsTag(member.name)) {
      return Refuse(member.at, "tagOwners[" + Quoted(member.name) +
                                   "]: tag names must start with a letter, after 'tag:'");
    }
    auto& owners = out_.tag_owners[member.name];
    if (member.value.is_null()) continue;
    if (auto done = Approvers(member.value, owners); !done) return done;
  }
  return {};
}

Checked<> DocumentReader::AutoApprove(const HuValue& object) {
  auto& approvers = out_.auto_approvers;
  const auto routes = [&](const HuValue& value) -> Checked<> {
    if (!value.is_object()) return WrongKind(value, "routes", "an object");
    for (const auto& member : value.members) {
      const auto range = ReadRange(Trim(member.name));
      const auto prefix = range ? range->prefix() : std::nullopt;
      if (!prefix) return Refuse(member.at, "invalid route prefix: " + Quoted(member.name));
      auto& route = approvers.routes.emplace_back();
      route.prefix = *prefix;
      if (auto done = Approvers(member.value, route.approvers); !done) return done;
    }
    return {};
  };
  // Who may advertise a service without being asked. There are none to advertise.
  const auto services = [&](const HuValue& value) -> Checked<> {
    if (!value.is_object()) return WrongKind(value, "services", "an object");
    for (const auto& member : value.members) {
      if (!member.name.starts_with("svc:") && !member.name.starts_with("tag:")) {
        return Refuse(member.at, "invalid service: " + Quoted(member.name),
                      {"allowed: svc:<name>, or the tag of services"});
      }
      if (auto done = Approvers(member.value, approvers.services); !done) return done;
    }
    return {};
  };
  return Fields(object, "autoApprovers",
                {{"routes", routes},
                 {"exitnode", [&](const HuValue& v) { return Approvers(v, approvers.exit_node); }},
                 {"services", services}});
}

}  // namespace ringscale::control::policy
