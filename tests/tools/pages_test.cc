// The web pages: what they say, and that nothing a stranger chooses gets through.
#include "tools/serverd/pages/pages.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <array>

#include "core/base/base64.h"

namespace ringscale::serverd::pages {
namespace {

const Site kSite{.server_url = "https://net.example.com:8443", .version = "1.2.3"};
constexpr std::string_view kId = "hskey-authreq-0123456789abcdef01234567";

std::string Header(const Page& page, std::string_view name) {
  return std::string(core::http::FindHeader(page.headers, name));
}

std::size_t Count(std::string_view text, std::string_view what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != std::string_view::npos;
       at = text.find(what, at + what.size())) {
    ++count;
  }
  return count;
}

// The text between two marks.
std::string Between(std::string_view text, std::string_view from, std::string_view to) {
  const std::size_t begin = text.find(from) + from.size();
  return std::string(text.substr(begin, text.find(to, begin) - begin));
}

std::string Sha256Source(std::string_view text) {
  std::array<unsigned char, 32> digest{};
  EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return "'sha256-" + core::Base64Encode(core::Bytes(digest)) + "'";
}

TEST(Pages, HomeShowsTheCommand) {
  const Page page = Home(kSite);
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  EXPECT_NE(page.body.find("tailscale up --login-server https://net.example.com:8443</code>"),
            std::string::npos);
  EXPECT_NE(page.body.find("1.2.3"), std::string::npos);
  EXPECT_NE(page.body.find("viewport"), std::string::npos);
}

TEST(Pages, NothingIsLoadedFromElsewhere) {
  for (const Page& page : {Home(kSite), Windows(kSite), Apple(kSite), Error(kSite, 404),
                           Register(kSite, kId, LoginRequest{"host", "linux", 3}),
                           Auth(kSite, kId, SshCheck{"laptop", "alice", "db", "root", 3})}) {
    const std::string policy = Header(page, "content-security-policy");
    EXPECT_TRUE(policy.starts_with("default-src 'none';")) << policy;
    EXPECT_EQ(policy.find("http"), std::string::npos);
    EXPECT_EQ(policy.find("unsafe"), std::string::npos);
    EXPECT_NE(policy.find("frame-ancestors 'none'"), std::string::npos);
    // What is inline is exactly what the policy allows.
    EXPECT_NE(
        policy.find("style-src " + Sha256Source(Between(page.body, "<style>", "</style>")) + ";"),
        std::string::npos);
    EXPECT_NE(policy.find("script-src " +
                          Sha256Source(Between(page.body, "<script>", "</script>")) + ";"),
              std::string::npos);
    EXPECT_EQ(Count(page.body, "<script"), 1U);
    EXPECT_EQ(page.body.find(" src="), std::string::npos);
    EXPECT_EQ(page.body.find("url("), std::string::npos);
    EXPECT_EQ(page.body.find("@import"), std::string::npos);
    EXPECT_EQ(page.body.find(" style="), std::string::npos);
    EXPECT_EQ(page.body.find(" onclick"), std::string::npos);
  }
}

TEST(Pages, RegisterShowsTheCommandOfAPendingRequest) {
  const Page page = Register(kSite, kId, LoginRequest{"Alice's MacBook", "macOS", 14});
  EXPECT_EQ(page.status, 200);
  EXPECT_NE(page.body.find("ringscale auth register --auth-id " + std::string(kId) +
                           " --user USERNAME</code>"),
            std::string::npos);
  EXPECT_NE(page.body.find("ringscale users create NAME"), std::string::npos);
  EXPECT_NE(page.body.find("Alice&#39;s MacBook"), std::string::npos);
  EXPECT_NE(page.body.find("about 14 minutes"), std::string::npos);
  EXPECT_EQ(Header(page, "cache-control"), "no-store");
}

TEST(Pages, RegisterSaysWhenTheRequestIsGone) {
  const Page page = Register(kSite, kId, std::nullopt);
  EXPECT_EQ(page.status, 410);
  EXPECT_NE(page.body.find("expired"), std::string::npos);
  EXPECT_EQ(page.body.find("auth register"), std::string::npos);
}

TEST(Pages, RegisterRefusesWhatIsNoId) {
  for (const std::string id :
       {"", "x", "hskey-authreq-", "hskey-authreq-0123456789ABCDEF01234567",
        "hskey-authreq-0123456789abcdef012345678", "hskey-authreq-0123456789abcdef0123456g",
        "hskey-authreq-<script>alert(1)</script>", "<img src=x onerror=alert(1)>"}) {
    const Page page = Register(kSite, id, LoginRequest{"host", "linux", 3});
    EXPECT_EQ(page.status, 400) << id;
    EXPECT_EQ(page.body.find("alert"), std::string::npos);
    EXPECT_EQ(page.body.find("auth register"), std::string::npos);
  }
}

TEST(Pages, AnSshCheckShowsWhoAsksAndTheCommand) {
  const Page page = Auth(kSite, kId, SshCheck{"laptop", "alice", "db", "root", 14});
  EXPECT_EQ(page.status, 200);
  EXPECT_NE(page.body.find("ringscale auth approve --auth-id " + std::string(kId) + "</code>"),
            std::string::npos);
  EXPECT_NE(page.body.find("ringscale auth reject --auth-id " + std::string(kId) + "</code>"),
            std::string::npos);
  EXPECT_NE(page.body.find("laptop, a device of alice"), std::string::npos);
  EXPECT_NE(page.body.find("<dd>db</dd>"), std::string::npos);
  EXPECT_NE(page.body.find("<dd>root</dd>"), std::string::npos);
  EXPECT_NE(page.body.find("about 14 minutes"), std::string::npos);

  const Page gone = Auth(kSite, kId, std::nullopt);
  EXPECT_EQ(gone.status, 410);
  EXPECT_EQ(gone.body.find("auth approve"), std::string::npos);
  EXPECT_EQ(Auth(kSite, "<script>alert(1)</script>", std::nullopt).status, 400);
}

TEST(Pages, WhatStrangersChooseIsEscaped) {
  const std::string evil = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>&\x01";
  const Page page = Register({.server_url = evil, .version = evil}, kId,
                             LoginRequest{.hostname = evil, .os = evil, .minutes_left = 1});
  EXPECT_EQ(Count(page.body, "<script"), 1U);
  EXPECT_EQ(page.body.find("<img"), std::string::npos);
  EXPECT_EQ(page.body.find('\x01'), std::string::npos);
  EXPECT_NE(page.body.find("&lt;script&gt;"), std::string::npos);
  for (const Page& other :
       {Home({.server_url = evil, .version = evil}), Windows({.server_url = evil, .version = evil}),
        Apple({.server_url = evil, .version = evil}),
        Error({.server_url = evil, .version = evil}, 500),
        Register({.server_url = evil, .version = evil}, kId, std::nullopt),
        Auth({.server_url = evil, .version = evil}, kId, SshCheck{evil, evil, evil, evil, 1})}) {
    EXPECT_EQ(Count(other.body, "<script"), 1U);
    EXPECT_EQ(other.body.find("<img"), std::string::npos);
  }
}

TEST(Pages, CommandsHoldNothingThatAShellWouldRun) {
  for (const std::string url : {"http://a;reboot", "http://a`id`", "http://a$(id)", "http://a b",
                                "http://a'b", "http://a|b", "http://a\nb", ""}) {
    for (const Page& page :
         {Home({.server_url = url, .version = ""}), Windows({.server_url = url, .version = ""}),
          Apple({.server_url = url, .version = ""})}) {
      EXPECT_NE(page.body.find("--login-server https://SERVER"), std::string::npos) << url;
    }
  }
  // A bracket is special to shells, and part of every IPv6 URL.
  const Page page = Home({.server_url = "http://[2001:db8::1]:8080", .version = ""});
  EXPECT_NE(page.body.find("--login-server &#39;http://[2001:db8::1]:8080&#39;"),
            std::string::npos);
}

TEST(Pages, ShellWord) {
  EXPECT_EQ(ShellWord("http://a.b:8080/c"), "http://a.b:8080/c");
  EXPECT_EQ(ShellWord(""), "''");
  EXPECT_EQ(ShellWord("a b"), "'a b'");
  EXPECT_EQ(ShellWord("it's"), R"('it'\''s')");
}

TEST(Pages, AppleProfilesSetTheLoginServer) {
  struct Case {
    const char* platform;
    const char* type;
  };
  for (const auto& [platform, type] :
       {Case{"ios", "io.tailscale.ipn.ios"}, Case{"macos-app-store", "io.tailscale.ipn.macos"},
        Case{"macos-standalone", "io.tailscale.ipn.macsys"}}) {
    const Page page = AppleProfile(kSite, platform);
    EXPECT_EQ(page.status, 200);
    EXPECT_EQ(page.content_type, "application/x-apple-aspen-config; charset=utf-8");
    EXPECT_NE(page.body.find("<string>" + std::string(type) + "</string>"), std::string::npos);
    EXPECT_NE(
        page.body.find("<key>ControlURL</key>\n<string>https://net.example.com:8443</string>"),
        std::string::npos);
    // The same again for the same server, another one for another.
    EXPECT_EQ(page.body, AppleProfile(kSite, platform).body);
    const std::string uuid = Between(page.body, "<key>PayloadUUID</key>\n<string>", "</string>");
    EXPECT_EQ(uuid.size(), 36U);
    EXPECT_EQ(
        AppleProfile({.server_url = "https://other", .version = ""}, platform).body.find(uuid),
        std::string::npos);
  }
  EXPECT_EQ(AppleProfile(kSite, "watchos").status, 400);
  EXPECT_EQ(AppleProfile(kSite, "").status, 400);
}

TEST(Pages, ErrorsSayWhatToDoAndNothingTechnical) {
  for (const int status : {400, 401, 403, 404, 405, 410, 418, 429, 500, 502, 503}) {
    const Page page = Error(kSite, status);
    EXPECT_EQ(page.status, status);
    EXPECT_NE(page.body.find("<h1>"), std::string::npos);
  }
}

TEST(Pages, ForPathKnowsItsPaths) {
  for (const char* path :
       {"/", "/windows", "/apple", "/apple/ios", "/favicon.ico", "/robots.txt"}) {
    const auto page = ForPath(kSite, path);
    ASSERT_TRUE(page.has_value()) << path;
    EXPECT_EQ(page->status, 200) << path;
  }
  EXPECT_EQ(ForPath(kSite, "/apple/")->status, 400);
  for (const char* path : {"", "/register/x", "/key", "/windows/", "/nothing"}) {
    EXPECT_FALSE(ForPath(kSite, path).has_value()) << path;
  }
}

TEST(Pages, FaviconIsAPng) {
  const Page icon = Favicon();
  EXPECT_EQ(icon.content_type, "image/png");
  EXPECT_EQ(icon.body.substr(1, 3), "PNG");
  EXPECT_EQ(icon.body.substr(icon.body.size() - 8, 4), "IEND");
}

}  // namespace
}  // namespace ringscale::serverd::pages
