#include "tools/serverd/config/key_kinds.h"

#include <span>

#include "core/net/listener.h"

namespace ringscale::serverd {

bool IsListenAddress(std::string_view text) {
  return core::net::ParseListenAddress(text).has_value();
}
Found SetList(std::vector<std::string>& list, const Value& value, IsValid valid) {
  std::vector<std::string> fresh;
  const std::span<const Value> items =
      value.kind == Value::Kind::kList ? std::span(value.items) : std::span(&value, 1);
  for (const Value& item : items) {
    if (item.kind != Value::Kind::kText || !valid(item.text)) return Describe(item);
    fresh.push_back(item.text);
  }
  list = std::move(fresh);
  return std::nullopt;
}

std::string ShowList(const std::vector<std::string>& list) {
  std::string out = "[";
  for (const auto& item : list) {
    if (out.size() > 1) out += ", ";
    out += Quote(item);
  }
  return out + "]";
}

Key TextKey(std::string_view path, Get<std::string> get, std::string_view doc,
            std::string_view expected, IsValid valid) {
  return {path,
          expected,
          doc,
          false,
          [=](Config& config, const Value& value) -> Found {
            if (value.kind != Value::Kind::kText || !valid(value.text)) return Describe(value);
            get(config) = value.text;
            return std::nullopt;
          },
          [=](Config& config) { return Quote(get(config)); }};
}

Key SwitchKey(std::string_view path, Get<bool> get, std::string_view doc) {
  return {path,
          "true or false",
          doc,
          false,
          [=](Config& config, const Value& value) -> Found {
            const auto on = AsBool(value);
            if (!on) return Describe(value);
            get(config) = *on;
            return std::nullopt;
          },
          [=](Config& config) { return get(config) ? "true" : "false"; }};
}

Key DurationKey(std::string_view path, Get<core::Duration> get, core::Duration min,
                std::string_view expected, std::string_view doc) {
  return {path,
          expected,
          doc,
          false,
          [=](Config& config, const Value& value) -> Found {
            std::optional<core::Duration> duration;
            if (value.kind == Value::Kind::kText) duration = ParseDuration(value.text);
            if (value.kind == Value::Kind::kInteger && value.integer == 0) {
              duration = core::Duration{};
            }
            if (!duration || *duration < min) return Describe(value);
            get(config) = *duration;
            return std::nullopt;
          },
          [=](Config& config) { return Quote(FormatDuration(get(config))); }};
}

Key SizeKey(std::string_view path, Get<std::uint64_t> get, std::uint64_t min, std::uint64_t max,
            std::string_view expected, std::string_view doc) {
  return {path,
          expected,
          doc,
          false,
          [=](Config& config, const Value& value) -> Found {
            const auto size =
                value.kind == Value::Kind::kText ? ParseSize(value.text) : std::nullopt;
            if (!size || *size < min || *size > max) return Describe(value);
            get(config) = *size;
            return std::nullopt;
          },
          [=](Config& config) { return Quote(FormatSize(get(config))); }};
}

Key ListKey(std::string_view path, Get<std::vector<std::string>> get, std::string_view expected,
            IsValid valid, std::string_view doc) {
  return {path,
          expected,
          doc,
          true,
          [=](Config& config, const Value& value) { return SetList(get(config), value, valid); },
          [=](Config& config) { return ShowList(get(config)); }};
}

Key CountKey(std::string_view path, Get<std::uint32_t> get, std::int64_t min,
             std::string_view doc) {
  constexpr std::int64_t kMany = 1'000'000'000;
  return NumberKey(path, get, min, kMany, min == 0 ? "a number from 0 on" : "a number from 1 on",
                   doc);
}

Key PrefixKey(std::string_view path, Get<std::optional<core::IpPrefix>> get,
              core::IpAddress::Family family, std::uint8_t min_length, std::uint8_t max_length,
              std::string_view expected, std::string_view doc) {
  return {path,
          expected,
          doc,
          false,
          [=](Config& config, const Value& value) -> Found {
            if (value.kind != Value::Kind::kText) return Describe(value);
            if (value.text.empty()) {
              get(config).reset();
              return std::nullopt;
            }
            const auto prefix = core::IpPrefix::Parse(value.text);
            if (!prefix || prefix->address.family != family || prefix->length < min_length ||
                prefix->length > max_length || prefix->Masked() != *prefix) {
              return Describe(value);
            }
            get(config) = *prefix;
            return std::nullopt;
          },
          [=](Config& config) {
            const auto& prefix = get(config);
            return Quote(prefix ? prefix->text() : "");
          }};
}

}  // namespace ringscale::serverd
