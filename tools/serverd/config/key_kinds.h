// Makers of table entries, one for each kind of value.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/time.h"
#include "core/net/address.h"
#include "tools/serverd/config/keys.h"

namespace ringscale::serverd {

using Found = std::optional<std::string>;  // nullopt: all is well
// Where the value lies.
template <class T>
using Get = T& (*)(Config&);
using IsValid = bool (*)(std::string_view);

// A member of the configuration as the makers below take it.
#define RINGSCALE_MEMBER(name) [](Config& config) -> decltype((config.name)) { return config.name; }

inline bool IsAnything(std::string_view) {
  return true;
}
bool IsListenAddress(std::string_view text);

// A list of texts; a single text stands for a list of one. Left alone on error.
Found SetList(std::vector<std::string>& list, const Value& value, IsValid valid);
std::string ShowList(const std::vector<std::string>& list);

Key TextKey(std::string_view path, Get<std::string> get, std::string_view doc,
            std::string_view expected = "text", IsValid valid = IsAnything);
Key SwitchKey(std::string_view path, Get<bool> get, std::string_view doc);
Key DurationKey(std::string_view path, Get<core::Duration> get, core::Duration min,
                std::string_view expected, std::string_view doc);
Key SizeKey(std::string_view path, Get<std::uint64_t> get, std::uint64_t min, std::uint64_t max,
            std::string_view expected, std::string_view doc);
Key ListKey(std::string_view path, Get<std::vector<std::string>> get, std::string_view expected,
            IsValid valid, std::string_view doc);
// A network of one family, or empty for none.
Key PrefixKey(std::string_view path, Get<std::optional<core::IpPrefix>> get,
              core::IpAddress::Family family, std::uint8_t min_length, std::uint8_t max_length,
              std::string_view expected, std::string_view doc);
// Keys with a form of their own.
Key ListenKey();
Key TrustedProxiesKey();
// All of section "relay".
std::vector<Key> RelayKeys();
Key SplitDnsKey();
Key ExtraRecordsKey();

// From `min` (0 or 1) to very many.
Key CountKey(std::string_view path, Get<std::uint32_t> get, std::int64_t min, std::string_view doc);

template <class T>
Key NumberKey(std::string_view path, Get<T> get, std::int64_t min, std::int64_t max,
              std::string_view expected, std::string_view doc) {
  return {path,
          expected,
          doc,
          false,
          [=](Config& config, const Value& value) -> Found {
            const auto number = AsInteger(value);
            if (!number || *number < min || *number > max) return Describe(value);
            get(config) = static_cast<T>(*number);
            return std::nullopt;
          },
          [=](Config& config) { return std::to_string(get(config)); }};
}

// One of a few words, each standing for a value.
template <class T>
Key ChoiceKey(std::string_view path, Get<T> get,
              const std::vector<std::pair<std::string_view, T>>& choices, std::string_view expected,
              std::string_view doc) {
  return {path,
          expected,
          doc,
          false,
          [=](Config& config, const Value& value) -> Found {
            const auto choice =
                std::ranges::find(choices, value.text, &std::pair<std::string_view, T>::first);
            if (value.kind != Value::Kind::kText || choice == choices.end()) {
              return Describe(value);
            }
            get(config) = choice->second;
            return std::nullopt;
          },
          [=](Config& config) {
            return Quote(
                std::ranges::find(choices, get(config), &std::pair<std::string_view, T>::second)
                    ->first);
          }};
}

}  // namespace ringscale::serverd
