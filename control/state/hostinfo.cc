#include "control/state/hostinfo.h"

#include <array>

#include "core/base/sort_unique.h"
#include "core/json/reader.h"
#include "core/json/writer.h"

namespace ringscale::control {
namespace {

using core::json::Kind;
using core::json::Value;
using core::json::Writer;

std::string Text(Value value) {
  return std::string(value.AsString().value_or(""));
}

std::vector<std::string> Texts(Value value) {
  std::vector<std::string> texts;
  if (!value.is_array()) return texts;
  value.Elements([&](Value item) {
    if (const auto text = item.AsString()) texts.emplace_back(*text);
    return true;
  });
  core::SortUnique(texts);
  return texts;
}

std::vector<core::IpPrefix> Prefixes(Value value) {
  std::vector<core::IpPrefix> prefixes;
  for (const auto& text : Texts(value)) {
    if (const auto prefix = core::IpPrefix::Parse(text)) prefixes.push_back(prefix->Masked());
  }
  core::SortUnique(prefixes);
  return prefixes;
}

// Go leaves empty values out; so do we, so that spelling one out changes nothing.
bool IsEmpty(Value value) {
  switch (value.kind()) {
    case Kind::kMissing:
    case Kind::kNull:
      return true;
    case Kind::kBool:
      return !*value.AsBool();
    case Kind::kString:
      return value.AsString()->empty();
    case Kind::kArray:
    case Kind::kObject:
      return value.size() == 0;
    default:
      return false;
  }
}

// The services that clients look for at their peers; those that CollectServices
// adds (every listening port of the machine) reach nobody.
void WriteServices(Writer& out, Value services) {
  bool any = false;
  services.Elements([&](Value service) {
    if (!service["Proto"].AsString().value_or("").starts_with("peerapi")) return true;
    if (!any) out.Key("Services").BeginArray();
    any = true;
    service.Write(out);
    return true;
  });
  if (any) out.EndArray();
}

std::string PeerPart(Value root) {
  constexpr std::array<std::string_view, 7> kFields = {
      "Hostname", "OS", "Services", "sshHostKeys", "Location", "ShareeNode", "AppConnector"};
  std::string peer;
  Writer out(peer);
  out.BeginObject();
  for (std::string_view name : kFields) {
    const Value value = root[name];
    if (IsEmpty(value)) continue;
    if (name == "Services") {
      if (value.is_array()) WriteServices(out, value);
      continue;
    }
    out.Key(name);
    value.Write(out);
  }
  out.EndObject();
  return peer;
}

core::Result<Hostinfo> Parse(std::string_view json, std::size_t max_bytes) {
  if (json.size() > max_bytes) {
    return core::Fail(core::ErrorCode::kLimit,
                      "Hostinfo is larger than " + std::to_string(max_bytes / 1024) + " KiB");
  }
  if (json.empty()) json = "{}";
  thread_local core::json::Parser parser;
  const auto parsed = parser.Parse(json, {.max_bytes = max_bytes, .max_depth = 32});
  if (!parsed) {
    return core::Fail(parsed.error().code, "Hostinfo: " + parsed.error().message);
  }
  const Value root = *parsed;
  if (!root.is_object() && !root.is_null()) {
    return core::Fail(core::ErrorCode::kInvalid, "Hostinfo is no JSON object");
  }

  Hostinfo info;
  Writer base(info.base);
  base.BeginObject();
  root.Members([&](std::string_view name, Value value) {
    if (name == "NetInfo") return true;
    base.ForeignKey(name);
    value.Write(base);
    return true;
  });
  base.EndObject();
  if (const Value net_info = root["NetInfo"]; net_info.is_object()) {
    info.net_info = net_info.Compact();
    const std::uint64_t region = net_info["PreferredDERP"].AsUint().value_or(0);
    if (region <= 0xffff) info.home_derp = static_cast<std::uint16_t>(region);
  }
  info.hostname = Text(root["Hostname"]);
  info.os = Text(root["OS"]);
  info.os_version = Text(root["OSVersion"]);
  info.client_version = Text(root["IPNVersion"]);
  info.routable_ips = Prefixes(root["RoutableIPs"]);
  info.request_tags = Texts(root["RequestTags"]);
  info.peer = PeerPart(root);
  return info;
}

}  // namespace

std::string Hostinfo::Merged() const {
  if (net_info.empty()) return base;
  std::string merged = base;
  merged.pop_back();
  if (merged.size() > 1) merged += ',';
  merged += "\"NetInfo\":";
  merged += net_info;
  merged += '}';
  return merged;
}

void Hostinfo::KeepNetInfo(const Hostinfo& before) {
  if (net_info.empty()) {
    net_info = before.net_info;
    home_derp = before.home_derp;
  }
}

core::Result<Hostinfo> ParseHostinfo(std::string_view json) {
  return Parse(json, kMaxHostinfo);
}

core::Result<Hostinfo> ParseStoredHostinfo(std::string_view json) {
  return Parse(json, 16 * kMaxHostinfo);
}

}  // namespace ringscale::control
