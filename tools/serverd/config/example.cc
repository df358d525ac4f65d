#include <string>

#include "tools/serverd/config/keys.h"

namespace ringscale::serverd {
namespace {

constexpr std::string_view kHead =
    R"(# The configuration of ringscale.
#
# Looked for in this order: --config FILE, $RINGSCALE_CONFIG,
# /etc/ringscale/ringscale.toml, ./ringscale.toml. Every key is optional; each
# one below shows its default. Remove the '#' before a key to change it.
#
# An environment variable overrides the file: RINGSCALE_, section and key, in
# capitals with '_' between, such as RINGSCALE_DNS_MAGIC_DNS=false; lists are
# written with commas. Flags of "ringscale serve" override both.
# "ringscale configtest" tells whether a configuration is right. On SIGHUP a running
# server takes changes over, but for keys marked (restart).
#
# Durations are written "30s", "15m", "3h", "90d" or "1h30m", sizes "512MiB".
)";

void AppendComment(std::string& out, std::string_view doc) {
  while (!doc.empty()) {
    const auto end = doc.find('\n');
    out.append("# ").append(doc.substr(0, end)).append("\n");
    doc.remove_prefix(end == std::string_view::npos ? doc.size() : end + 1);
  }
}

}  // namespace

std::string ExampleConfig() {
  Config defaults;
  std::string out(kHead);
  std::string section;
  for (const Key& key : Keys()) {
    const auto dot = key.path.rfind('.');
    const std::string_view own = dot == std::string_view::npos ? "" : key.path.substr(0, dot);
    out += "\n";
    if (own != section) {
      section = own;
      AppendComment(out, FindSection(own)->doc);
      out += "[" + section + "]\n\n";
    }
    AppendComment(out, key.doc);
    if (!key.at_reload && section != "relay") AppendComment(out, "(restart)");
    out.append("#").append(key.path.substr(dot + 1)).append(" = ").append(key.show(defaults));
    out += "\n";
  }
  return out;
}

}  // namespace ringscale::serverd
