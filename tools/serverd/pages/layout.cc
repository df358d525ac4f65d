#include "tools/serverd/pages/layout.h"

#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <string>

namespace ringscale::serverd::pages {
namespace {

constexpr std::string_view kStyle = R"css(
:root{color-scheme:light dark;--text:#1d2129;--soft:#5a6270;--page:#fafafa;--card:#fff;--line:#d9dde3;--accent:#0b62c4;--code:#f1f3f6}
@media (prefers-color-scheme:dark){:root{--text:#e6e8eb;--soft:#a0a8b4;--page:#15181c;--card:#1d2126;--line:#343a42;--accent:#79b4ff;--code:#272c33}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:44rem;margin:0 auto;padding:1.5rem 1rem 2rem}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 .75rem}
h2{font-size:1.1rem;margin:2rem 0 .5rem}
p,ul,ol,dl{margin:.5rem 0 .75rem}
ul,ol{padding-left:1.4rem}
li{margin:.3rem 0}
a{color:var(--accent)}
code{font:.9em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:var(--code);border-radius:4px;padding:.1em .3em;overflow-wrap:anywhere}
.command{display:flex;flex-wrap:wrap;gap:.5rem;align-items:center;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.6rem .75rem;margin:.6rem 0 1rem}
.command code{flex:1 1 16rem;background:none;padding:0;-webkit-user-select:all;user-select:all;white-space:pre-wrap}
button{font:inherit;font-size:.9rem;min-height:2.5rem;padding:.3rem .9rem;color:var(--accent);background:none;border:1px solid var(--line);border-radius:6px;cursor:pointer}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem .9rem}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
footer{margin-top:2.5rem;padding-top:.75rem;border-top:1px solid var(--line);color:var(--soft);font-size:.85rem}
)css";

// The button appears only when the script runs. navigator.clipboard exists only
// on https and localhost, hence the older way as a fallback.
constexpr std::string_view kScript = R"js(
for (const box of document.querySelectorAll('.command')) {
  const code = box.querySelector('code');
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Copy';
  button.addEventListener('click', async () => {
    let done = false;
    try { await navigator.clipboard.writeText(code.textContent); done = true; } catch (e) {
      getSelection().selectAllChildren(code);
      done = document.execCommand('copy');
    }
    button.textContent = done ? 'Copied' : 'Press Ctrl-C';
  });
  box.append(button);
}
)js";

// A CSP source expression: 'sha256-<base64 of the digest>'.
std::string HashSource(std::string_view text) {
  std::array<unsigned char, 32> digest{};
  unsigned int size = digest.size();
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
  std::array<unsigned char, 45> base64{};
  const int length = EVP_EncodeBlock(base64.data(), digest.data(), static_cast<int>(size));
  return "'sha256-" +
         std::string(reinterpret_cast<const char*>(base64.data()),
                     static_cast<std::size_t>(length)) +
         "'";
}

const std::string& HtmlPolicy() {
  static const std::string policy =
      "default-src 'none'; style-src " + HashSource(kStyle) + "; script-src " +
      HashSource(kScript) +
      "; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
  return policy;
}

}  // namespace

std::string ShellWord(std::string_view text) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@%_+=:,./-[]";
  const bool brackets = text.find_first_of("[]") != std::string_view::npos;
  if (!text.empty() && !brackets && text.find_first_not_of(kPlain) == std::string_view::npos) {
    return std::string(text);
  }
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += R"('\'')";
    } else {
      out += c;
    }
  }
  out += '\'';
  return out;
}

std::string SafeUrl(const Site& site) {
  constexpr std::string_view kUrl =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%:/[]";
  if (site.server_url.empty() || site.server_url.find_first_not_of(kUrl) != std::string::npos) {
    return "https://SERVER";
  }
  return site.server_url;
}

Page Html(const Site& site, int status, std::string_view title, std::string_view body) {
  Page page;
  page.status = status;
  page.content_type = "text/html; charset=utf-8";
  page.headers.push_back({"content-security-policy", HtmlPolicy()});
  // Addresses and login requests change: a stale copy would mislead.
  page.headers.push_back({"cache-control", "no-store"});

  std::string& out = page.body;
  out += "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  out += "<meta name=\"robots\" content=\"noindex\">\n";
  out += "<title>" + EscapeHtml(title) + " - ringscale</title>\n";
  out += "<link rel=\"icon\" href=\"/favicon.ico\">\n<style>";
  out += kStyle;
  out += "</style>\n</head>\n<body>\n<main>\n";
  out += body;
  out += "\n<footer>ringscale";
  if (!site.version.empty()) out += " " + EscapeHtml(site.version);
  if (!site.server_url.empty()) {
    out +=
        " &middot; <a href=\"/\">How to connect</a> &middot; <a href=\"/windows\">Windows</a>"
        " &middot; <a href=\"/apple\">Apple</a>";
  }
  out += "</footer>\n</main>\n<script>";
  out += kScript;
  out += "</script>\n</body>\n</html>\n";
  return page;
}

std::string CommandBox(std::string_view command) {
  return "<div class=\"command\"><code>" + EscapeHtml(command) + "</code></div>\n";
}

}  // namespace ringscale::serverd::pages
