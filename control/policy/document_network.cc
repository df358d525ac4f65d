// The parts of a policy that are settings of the network: relays, DNS records, how
// Macs route.
#include <algorithm>
#include <charconv>

#include "control/policy/document_reader.h"

namespace ringscale::control::policy {
namespace {

template <class T>
bool ReadNumber(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

Checked<> DocumentReader::OneCgnatRoute(const HuValue& value) {
  if (!value.is_string()) {
    return Refuse(value.at,
                  "OneCGNATRoute must be a string, got " + std::string(KindName(value.kind)));
  }
  if (value.text.empty()) return {};
  if (value.text != "mac-always" && value.text != "mac-never") {
    return Refuse(value.at, "OneCGNATRoute: " + Quoted(value.text) + " is not known",
                  {R"(allowed: "mac-always", "mac-never", "")"});
  }
  out_.one_cgnat_route = value.text == "mac-always";
  return {};
}

Checked<> DocumentReader::DerpRegions(const HuValue& object, DerpOverlay& overlay) {
  if (!object.is_object()) return Refuse(object.at, "derpMap: Regions must be an object");
  const DerpMapLimits limits;
  if (object.members.size() > limits.regions) {
    return Refuse(object.at,
                  "derpMap: too many regions: the limit is " + std::to_string(limits.regions));
  }
  for (const auto& member : object.members) {
    // One by one, so that the place of an error is known.
    std::string text = "{\"Regions\":{";
    HuValue name;
    name.kind = HuValue::Kind::kString;
    name.text = member.name;
    name.Write(text);
    text += ':';
    member.value.Write(text);
    text += "}}";
    auto region = ParseDerpMapJson(text, limits);
    if (!region) return Refuse(member.at, "derpMap: " + region.error().message);
    overlay.regions.regions.merge(region->regions);
  }
  return {};
}

Checked<> DocumentReader::Derp(const HuValue& object) {
  DerpOverlay& overlay = out_.derp_map.emplace();
  const auto regions = [&](const HuValue& value) { return DerpRegions(value, overlay); };
  const auto scores = [&](const HuValue& value) -> Checked<> {
    if (!value.is_object()) return Refuse(value.at, "RegionScore must be an object");
    auto& out = overlay.region_scores.emplace();
    for (const auto& member : value.members) {
      std::uint32_t id = 0;
      double score = 0;
      if (!ReadNumber(member.name, id) || !ReadNumber(member.value.text, score) ||
          member.value.kind != HuValue::Kind::kNumber || id == 0 || id > kMaxDerpRegion) {
        return Refuse(member.at, "RegionScore must give numbers for ids of regions");
      }
      out[id] = score;
    }
    return {};
  };
  const auto home_params = [&](const HuValue& value) {
    return Fields(value, "HomeParams", {{"regionscore", scores}});
  };
  if (auto done = Fields(object, "derpMap",
                         {Flag("omitdefaultregions", overlay.omit_default_regions),
                          {"regions", regions},
                          {"homeparams", home_params}});
      !done) {
    return done;
  }
  const bool adds = std::ranges::any_of(overlay.regions.regions,
                                        [](const auto& entry) { return entry.second.has_value(); });
  if (overlay.omit_default_regions && !adds) {
    return Refuse(object.at, "derpMap omits the default regions and names no other",
                  {"clients need at least one region"});
  }
  return {};
}

Checked<> DocumentReader::DnsRecords(const HuValue& array) {
  return Items(array, "extraDNSRecords", [&](const HuValue& item, std::size_t) -> Checked<> {
    DnsRecord& record = out_.extra_dns_records.emplace_back();
    if (auto done = Fields(
            item, "an entry of extraDNSRecords",
            {Text("name", record.name), Text("type", record.type), Text("value", record.value)});
        !done) {
      return done;
    }
    if (out_.extra_dns_records.size() > limits_.max_dns_records) {
      return Refuse(item.at, "too many extraDNSRecords: the limit is " +
                                 std::to_string(limits_.max_dns_records));
    }
    const auto checked = CheckDnsRecord(record);
    if (!checked) return Refuse(item.at, "extraDNSRecords: " + checked.error().message);
    return {};
  });
}

}  // namespace ringscale::control::policy
