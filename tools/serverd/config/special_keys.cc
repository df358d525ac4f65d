#include <map>

#include "tools/serverd/config/checks.h"
#include "tools/serverd/config/key_kinds.h"

namespace ringscale::serverd {
namespace {

Found AddRecord(std::vector<ExtraDnsRecord>& records, const Value& item) {
  if (item.kind != Value::Kind::kTable) return Describe(item);
  ExtraDnsRecord record;
  for (std::size_t i = 0; i < item.items.size(); ++i) {
    const std::string& name = item.names[i];
    const Value& field = item.items[i];
    if (field.kind != Value::Kind::kText) return Describe(field);
    if (name == "name") {
      record.name = field.text;
    } else if (name == "type") {
      record.type = field.text;
    } else if (name == "value") {
      record.value = field.text;
    } else {
      return "the field " + Describe(name);
    }
  }
  const auto ip = core::IpAddress::Parse(record.value);
  if (!IsDomainName(record.name)) return "the name " + Describe(record.name);
  if (!ip) return "the value " + Describe(record.value);
  if (record.type != (ip->is_v4() ? "A" : "AAAA")) return "the type " + Describe(record.type);
  records.push_back(std::move(record));
  return std::nullopt;
}

}  // namespace

Key ListenKey() {
  return {
      "listen",
      "\"auto\" or a list of \"ADDRESS:PORT\", such as \":8080\" or \"192.0.2.1:443\"",
      "Where the server listens, all of it on every address: control, relay, web\n"
      "pages; TLS and plain HTTP on the same port. \":8080\" is every address of this\n"
      "machine. \"auto\" is \":8080\", and \":443\" too when it can be bound. Sockets that\n"
      "systemd passes (tools/systemd) are used instead; so for derp.stun_listen,\n"
      "unix_socket.path and, if named \"metrics\", metrics.listen.",
      true,
      [](Config& config, const Value& value) -> Found {
        if (value.kind == Value::Kind::kText && value.text == "auto") {
          config.listen = Config().listen;
          config.listen_auto = true;
          return std::nullopt;
        }
        if (value.kind == Value::Kind::kList && value.items.empty()) return Describe(value);
        auto found = SetList(config.listen, value, IsListenAddress);
        if (!found) config.listen_auto = false;
        return found;
      },
      [](Config& config) { return config.listen_auto ? Quote("auto") : ShowList(config.listen); }};
}

Key TrustedProxiesKey() {
  return {"trusted_proxies",
          "a list of networks such as \"10.0.0.0/8\" or addresses, not all of the internet",
          "Reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.\n"
          "Example: [\"127.0.0.1/32\", \"10.0.0.0/8\"]",
          true,
          [](Config& config, const Value& value) -> Found {
            std::vector<std::string> texts;
            if (auto found = SetList(texts, value, IsAnything)) return found;
            std::vector<core::IpPrefix> proxies;
            for (const auto& text : texts) {
              auto prefix = core::IpPrefix::Parse(text);
              if (const auto ip = core::IpAddress::Parse(text)) prefix = core::IpPrefix::Host(*ip);
              if (!prefix || prefix->length == 0) return Describe(text);
              proxies.push_back(prefix->Masked());
            }
            config.trusted_proxies = std::move(proxies);
            return std::nullopt;
          },
          [](Config& config) {
            std::vector<std::string> texts;
            texts.reserve(config.trusted_proxies.size());
            for (const auto& prefix : config.trusted_proxies) texts.push_back(prefix.text());
            return ShowList(texts);
          }};
}

Key SplitDnsKey() {
  return {"dns.nameservers.split",
          "a table of domains with lists of nameservers, such as "
          "{ \"corp.example.com\" = [\"192.0.2.53\"] }",
          "Nameservers for certain domains.\n"
          "Example: { \"corp.example.com\" = [\"192.0.2.53\"] }",
          true,
          [](Config& config, const Value& value) -> Found {
            if (value.kind != Value::Kind::kTable) return Describe(value);
            std::map<std::string, std::vector<std::string>> split;
            for (std::size_t i = 0; i < value.items.size(); ++i) {
              const std::string& domain = value.names[i];
              if (!IsDomainName(domain)) return "the domain " + Describe(domain);
              if (auto found = SetList(split[domain], value.items[i], IsNameserver)) return found;
            }
            config.dns.nameservers_split = std::move(split);
            return std::nullopt;
          },
          [](Config& config) -> std::string {
            std::string out;
            for (const auto& [domain, servers] : config.dns.nameservers_split) {
              out += out.empty() ? "{ " : ", ";
              out += Quote(domain) + " = " + ShowList(servers);
            }
            return out.empty() ? "{}" : out + " }";
          }};
}

Key ExtraRecordsKey() {
  return {"dns.extra_records",
          "a list of records such as { name = \"db.tailnet.internal\", type = \"A\", value = "
          "\"100.64.0.3\" }",
          "More names for the tailnet's members (A and AAAA). Example:\n"
          "[{ name = \"db.tailnet.internal\", type = \"A\", value = \"100.64.0.3\" }]",
          true,
          [](Config& config, const Value& value) -> Found {
            if (value.kind != Value::Kind::kList) return Describe(value);
            std::vector<ExtraDnsRecord> records;
            for (const Value& item : value.items) {
              if (auto found = AddRecord(records, item)) return found;
            }
            config.dns.extra_records = std::move(records);
            return std::nullopt;
          },
          [](Config& config) {
            std::string out = "[";
            for (const auto& record : config.dns.extra_records) {
              if (out.size() > 1) out += ", ";
              out += "{ name = " + Quote(record.name) + ", type = " + Quote(record.type) +
                     ", value = " + Quote(record.value) + " }";
            }
            return out + "]";
          }};
}

}  // namespace ringscale::serverd
