#include <openssl/evp.h>

#include <array>
#include <string>

#include "tools/serverd/pages/layout.h"
#include "tools/serverd/pages/pages.h"

namespace ringscale::serverd::pages {
namespace {

struct Platform {
  std::string_view name;
  std::string_view payload_type;  // the preference domain of that build of the app
};
constexpr std::array kPlatforms = {
    Platform{"ios", "io.tailscale.ipn.ios"},
    Platform{"macos-app-store", "io.tailscale.ipn.macos"},
    Platform{"macos-standalone", "io.tailscale.ipn.macsys"},
};
constexpr std::string_view kIdentifier = "io.ringscale.login-server";

// A UUID that is the same for the same server and platform, so that installing
// a profile again replaces the earlier one (name-based, RFC 9562 version 8).
std::string StableUuid(std::string_view what, std::string_view platform, std::string_view url) {
  std::string input(what);
  input += '\0';
  input += platform;
  input += '\0';
  input += url;
  std::array<unsigned char, 32> digest{};
  unsigned int size = digest.size();
  EVP_Digest(input.data(), input.size(), digest.data(), &size, EVP_sha256(), nullptr);
  digest[6] = static_cast<unsigned char>((digest[6] & 0x0f) | 0x80);
  digest[8] = static_cast<unsigned char>((digest[8] & 0x3f) | 0x80);
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (std::size_t i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += kHex[digest[i] >> 4];
    out += kHex[digest[i] & 0x0f];
  }
  return out;
}

std::string Pair(std::string_view key, std::string_view value) {
  return "<key>" + std::string(key) + "</key>\n<string>" + EscapeHtml(value) + "</string>\n";
}

}  // namespace

Page Apple(const Site& site) {
  const std::string url = EscapeHtml(SafeUrl(site));
  std::string body;
  body += "<h1>Connect an Apple device</h1>\n";
  body += "<h2>iPhone, iPad, Apple TV</h2>\n<ol>\n";
  body += "<li>Install Tailscale from the App Store and open it.</li>\n";
  body +=
      "<li>Tap the account picture, then <em>Log in&hellip;</em>, then the menu with three "
      "dots, and choose <em>Use custom coordination server</em>.</li>\n";
  body += "<li>Enter this address and log in:\n" + CommandBox(SafeUrl(site)) + "</li>\n</ol>\n";
  body += "<h2>macOS, command line</h2>\n";
  body += CommandBox("tailscale login --login-server " + ShellWord(SafeUrl(site)));
  body += "<h2>macOS, app</h2>\n<ol>\n";
  body += "<li>Hold the Option key and click the Tailscale icon in the menu bar.</li>\n";
  body +=
      "<li>Under <em>Debug</em> choose <em>Custom Login Server</em>, then <em>Add "
      "Account&hellip;</em>, and enter <code>" +
      url + "</code></li>\n</ol>\n";
  body += "<h2>Configuration profile</h2>\n";
  body +=
      "<p>A profile makes this server the default for the Tailscale app. It holds only the "
      "address <code>" +
      url +
      "</code>. After the download open it and allow it in the system settings under "
      "<em>Profiles</em>.</p>\n<ul>\n";
  body += "<li><a href=\"/apple/ios\">iPhone and iPad</a></li>\n";
  body += "<li><a href=\"/apple/macos-app-store\">macOS, Tailscale from the App Store</a></li>\n";
  body +=
      "<li><a href=\"/apple/macos-standalone\">macOS, Tailscale from its own web "
      "site</a></li>\n</ul>\n";
  return Html(site, 200, "Apple devices", body);
}

Page AppleProfile(const Site& site, std::string_view platform) {
  const Platform* found = nullptr;
  for (const Platform& candidate : kPlatforms) {
    if (candidate.name == platform) found = &candidate;
  }
  if (found == nullptr) return Error(site, 400);

  Page page;
  page.content_type = "application/x-apple-aspen-config; charset=utf-8";
  page.headers.push_back({"content-security-policy", "default-src 'none'"});
  page.headers.push_back({"content-disposition", "attachment; filename=\"ringscale-" +
                                                     std::string(platform) + ".mobileconfig\""});
  std::string& out = page.body;
  out +=
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" "
      "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n"
      "<plist version=\"1.0\">\n<dict>\n";
  out += Pair("PayloadUUID", StableUuid("profile", platform, SafeUrl(site)));
  out += Pair("PayloadDisplayName", "ringscale");
  out += Pair("PayloadDescription", "Sets the login server of Tailscale to " + SafeUrl(site));
  out += Pair("PayloadIdentifier", kIdentifier);
  out += "<key>PayloadRemovalDisallowed</key>\n<false/>\n";
  out += Pair("PayloadType", "Configuration");
  out += "<key>PayloadVersion</key>\n<integer>1</integer>\n";
  out += "<key>PayloadContent</key>\n<array>\n<dict>\n";
  out += Pair("PayloadType", found->payload_type);
  out += Pair("PayloadUUID", StableUuid("payload", platform, SafeUrl(site)));
  out += Pair("PayloadIdentifier", kIdentifier);
  out += "<key>PayloadVersion</key>\n<integer>1</integer>\n";
  out += "<key>PayloadEnabled</key>\n<true/>\n";
  out += Pair("ControlURL", SafeUrl(site));
  out += "</dict>\n</array>\n</dict>\n</plist>\n";
  return page;
}

}  // namespace ringscale::serverd::pages
