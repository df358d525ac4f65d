#include "control/map/settings_pieces.h"

#include <utility>

#include "core/json/writer.h"

namespace ringscale::control {
namespace {

// Clients choose their Host header; more kinds than this at once are made anew.
constexpr std::size_t kMaxVariants = 64;

}  // namespace

SettingsPieces::SettingsPieces(Encoder& encoder, std::string domain, bool disable_log_tail)
    : encoder_(encoder), domain_(std::move(domain)), disable_log_tail_(disable_log_tail) {}

void SettingsPieces::SetDns(std::string dns_config_json) {
  dns_config_ = std::move(dns_config_json);
  dns_message_ = {};
  variants_.clear();
}

void SettingsPieces::SetDerp(DerpMap map) {
  derp_ = std::move(map);
  variants_.clear();
}

SettingsPieces::Variant& SettingsPieces::VariantOf(const ClientKind& client) {
  std::string key = client.capability < kCapabilityDerpPin ? "o" : "n";
  if (DependsOnHost(derp_)) {
    key += client.https ? 's' : 'p';
    key += client.host;
  }
  const auto found = variants_.find(key);
  if (found != variants_.end()) return found->second;
  if (variants_.size() >= kMaxVariants) variants_.clear();
  Variant& variant = variants_[std::move(key)];
  variant.derp_map = RenderDerpMap(
      derp_, {.capability = client.capability, .host = client.host, .https = client.https});
  return variant;
}

core::SharedSlice SettingsPieces::Head(const ClientKind& client, Encoding encoding) {
  Variant& variant = VariantOf(client);
  core::SharedSlice& head = variant.head[static_cast<std::size_t>(encoding)];
  if (head.owner != nullptr) return head;
  std::string text;
  core::json::Writer json(text);
  json.BeginObject();
  json.RawField("DERPMap", variant.derp_map);
  json.RawField("DNSConfig", dns_config_);
  if (!domain_.empty()) json.Field("Domain", domain_);
  json.Field("CollectServices", false);
  // Otherwise clients upload their logs to the vendor.
  if (disable_log_tail_) json.Key("Debug").BeginObject().Field("DisableLogTail", true).EndObject();
  text += ",\"UserProfiles\":[";
  head = encoder_.Encode(encoding, std::move(text));
  return head;
}

OutputPtr SettingsPieces::DnsMessage(Encoding encoding) {
  OutputPtr& message = dns_message_[static_cast<std::size_t>(encoding)];
  if (message == nullptr) {
    message = SingleMessage(encoder_, encoding, "{\"DNSConfig\":" + dns_config_ + "}");
  }
  return message;
}

OutputPtr SettingsPieces::DerpMessage(const ClientKind& client, Encoding encoding) {
  Variant& variant = VariantOf(client);
  OutputPtr& message = variant.message[static_cast<std::size_t>(encoding)];
  if (message == nullptr) {
    message = SingleMessage(encoder_, encoding, "{\"DERPMap\":" + variant.derp_map + "}");
  }
  return message;
}

}  // namespace ringscale::control
