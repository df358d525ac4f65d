// Every key of the configuration, once: its name, how it is read and shown, what
// it means. Parsing, environment, example and documentation come from this table.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tools/serverd/config.h"
#include "tools/serverd/config/value.h"

namespace ringscale::serverd {

struct Key {
  std::string_view path;      // "dns.nameservers.global"
  std::string_view expected;  // "true or false": for messages
  std::string_view doc;       // for the example; lines end with '\n' but the last
  bool structured = false;    // a list or a table: an environment variable may hold TOML
  // Stores the value. Otherwise what was found instead ("\"yes\"").
  std::function<std::optional<std::string>(Config&, const Value&)> set;
  // The value as TOML.
  std::function<std::string(Config&)> show;
  // A running server takes a change over on SIGHUP; else it needs a restart.
  bool at_reload = false;
};

struct Section {
  std::string_view path;
  std::string_view doc;
};

// In the order of the example; keys of a section follow each other.
std::span<const Key> Keys();
std::span<const Section> Sections();
const Key* FindKey(std::string_view path);
const Section* FindSection(std::string_view path);
// A section, or one that only holds others.
bool IsSection(std::string_view path);

// "RINGSCALE_DNS_MAGIC_DNS".
std::string EnvironmentName(std::string_view path);

// What to write instead of a name that is no key: a similar key, or ours for one
// of headscale's; a sentence part that starts with ": " or ";", or empty.
std::string Advice(std::string_view path);

}  // namespace ringscale::serverd
