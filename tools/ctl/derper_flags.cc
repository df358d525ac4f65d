#include "tools/ctl/derper_flags.h"

#include <algorithm>
#include <optional>

namespace ringscale::ctl {
namespace {

constexpr std::string_view kNoAcme = "certificates by ACME are not fetched here: give files";
constexpr std::string_view kNoSecrets = "give the mesh key as a file: --mesh-psk-file";

constexpr DerperFlag kFlags[] = {
    {"a", "ADDR",
     "The main address, \":443\". With a port other than 443 and without "
     "--certmode=manual DERP is served without TLS, too."},
    {"http-port", "PORT", "The port of plain HTTP, 80; -1: none."},
    {"stun", "", "Whether to answer STUN."},
    {"stun-port", "PORT", "Its UDP port, 3478."},
    {"derp", "", "Whether to relay; false: only the pages."},
    {"dev", "", "Plain HTTP on :3340, for trying things out."},
    {"hostname", "NAME", "The name or address by which clients reach it."},
    {"certmode", "MODE",
     "manual: files in --certdir. Without it the section tls of the "
     "configuration counts, else a certificate of our own."},
    {"certdir", "DIR", "Where HOSTNAME.crt and HOSTNAME.key are."},
    {"home", "URL", "What \"/\" shows: nothing said, \"blank\", or where to go."},
    {"mesh-psk-file", "FILE", "The mesh key."},
    {"mesh-with", "HOSTS", "All relays of the region, comma-separated: HOST or HOST/DIAL-HOST."},
    {"verify-clients", "", "Admit whom the tailscaled of this machine knows."},
    {"verify-client-url", "URL", "Admit whom this URL allows."},
    {"verify-client-url-fail-open", "", "Admit everybody while that URL cannot be reached."},
    {"bootstrap-dns-names", "NAMES", "Names to look up for clients without DNS."},
    {"accept-connection-limit", "N", "Connections accepted per second."},
    {"accept-connection-burst", "N", "How many may come at once."},
    {"rate-config", "FILE", "Receive rates, JSON; read again on SIGHUP."},
    {"tcp-keepalive-time", "TIME", "TCP keep-alive of idle clients, 10m."},
    {"tcp-user-timeout", "TIME", "When silent clients are gone, 15s."},
    {"tcp-write-timeout", "TIME", "When clients that take nothing are gone, 2s."},
    {"unpublished-bootstrap-dns-names", "NAMES", "", "there is no staged publication of names"},
    {"acme-eab-kid", "ID", "", kNoAcme},
    {"acme-eab-key", "KEY", "", kNoAcme},
    {"acme-email", "EMAIL", "", kNoAcme},
    {"acme-ip-certs", "", "", kNoAcme},
    {"secrets-url", "URL", "", kNoSecrets},
    {"secrets-path-prefix", "PREFIX", "", kNoSecrets},
    {"secrets-cache-dir", "DIR", "", kNoSecrets},
    {"ace", "", "", "the experimental CONNECT proxy is not served"},
};

// Those that the command line has itself, under derper's meaning.
constexpr DerperFlag kOwn[] = {
    {"c", "FILE", "The file with the relay's private key."},
    {"socket", "PATH", "The socket of the tailscaled that --verify-clients asks."},
    {"version", "", "Print the version."},
};

const DerperFlag* Find(std::string_view name) {
  for (const auto list : {std::span<const DerperFlag>(kFlags), std::span<const DerperFlag>(kOwn)}) {
    const auto found = std::ranges::find(list, name, &DerperFlag::name);
    if (found != list.end()) return &*found;
  }
  return nullptr;
}

// As strconv.ParseBool does.
std::optional<std::string> BoolText(std::string_view text) {
  for (const std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == yes) return "true";
  }
  for (const std::string_view no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (text == no) return "false";
  }
  return std::nullopt;
}

}  // namespace

std::span<const DerperFlag> DerperFlags() {
  return kFlags;
}

core::Result<std::vector<GivenFlag>> ParseGoFlags(const std::vector<std::string>& arguments) {
  std::vector<GivenFlag> given;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string_view word = arguments[i];
    const std::size_t dashes = word.starts_with("--") ? 2 : word.starts_with('-') ? 1 : 0;
    if (dashes == 0 || word.size() == dashes) {
      return core::Fail(core::ErrorCode::kInvalid, "unexpected argument: " + arguments[i]);
    }
    word.remove_prefix(dashes);
    const auto equals = word.find('=');
    const std::string name(word.substr(0, equals));
    const DerperFlag* flag = Find(name);
    if (flag == nullptr) {
      return core::Fail(core::ErrorCode::kInvalid, "derper has no flag -" + name);
    }
    std::string value =
        equals == std::string_view::npos ? "" : std::string(word.substr(equals + 1));
    if (flag->type.empty()) {
      const auto truth =
          equals == std::string_view::npos ? std::optional<std::string>("true") : BoolText(value);
      if (!truth) {
        return core::Fail(core::ErrorCode::kInvalid,
                          "-" + name + ": expected true or false, found '" + value + "'");
      }
      value = *truth;
    } else if (equals == std::string_view::npos) {
      if (++i == arguments.size()) {
        return core::Fail(core::ErrorCode::kInvalid, "-" + name + " needs a value");
      }
      value = arguments[i];
    }
    given.push_back({name, std::move(value)});
  }
  return given;
}

}  // namespace ringscale::ctl
