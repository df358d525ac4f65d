#include "tools/serverd/pages/pages.h"

#include "tools/serverd/pages/layout.h"

namespace ringscale::serverd::pages {
namespace {

std::string UpCommand(const Site& site) {
  return "tailscale up --login-server " + ShellWord(SafeUrl(site));
}

std::string_view StatusTitle(int status) {
  switch (status) {
    case 400:
      return "Bad request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Page not found";
    case 405:
      return "Method not allowed";
    case 410:
      return "Gone";
    case 413:
      return "Too large";
    case 426:
      return "Upgrade required";
    case 429:
      return "Too many requests";
    case 503:
      return "Not available right now";
    default:
      return status >= 500 ? "Something went wrong" : "Bad request";
  }
}

std::string_view StatusAdvice(int status) {
  switch (status) {
    case 401:
    case 403:
      return "You are not allowed to see this. If you think that you should be, ask the person "
             "who runs this server.";
    case 404:
      return "There is nothing at this address. Check it for a typing mistake.";
    case 410:
      return "Your login request has expired. Start again from your device.";
    case 429:
      return "There were too many requests from your address. Wait a minute, then try "
             "again.";
    case 503:
      return "The server is busy or restarting. Try again in a moment.";
    default:
      break;
  }
  if (status >= 500) {
    return "The server could not do this. Try again later; if it stays so, tell the person who "
           "runs this server.";
  }
  return "The server could not understand this request. Go back and try again.";
}

}  // namespace

Page Home(const Site& site) {
  std::string body;
  body += "<h1>This is a ringscale server</h1>\n";
  body +=
      "<p>ringscale is the coordination server of a private network. Devices join it with the "
      "ordinary Tailscale client; they then reach each other wherever they are.</p>\n";
  body += "<h2>Connect a device</h2>\n";
  body +=
      "<p>Install the <a href=\"https://tailscale.com/download\" rel=\"noreferrer\">Tailscale "
      "client</a>, then run on the device:</p>\n";
  body += CommandBox(UpCommand(site));
  body +=
      "<p>It prints an address to open in a browser. The page there shows the command with "
      "which the person who runs this server lets the device in.</p>\n";
  body += "<p>With a pre-auth key no approval is needed:</p>\n";
  body += CommandBox(UpCommand(site) + " --auth-key KEY");
  body += "<h2>Other devices</h2>\n<ul>\n";
  body += "<li><a href=\"/windows\">Windows</a></li>\n";
  body += "<li><a href=\"/apple\">macOS, iPhone, iPad, Apple TV</a></li>\n";
  body +=
      "<li>Android: in the Tailscale app open the settings, tap <em>Accounts</em>, then the "
      "menu with three dots, <em>Use an alternate server</em>, and enter <code>" +
      EscapeHtml(SafeUrl(site)) + "</code></li>\n</ul>\n";
  return Html(site, 200, "How to connect", body);
}

Page Windows(const Site& site) {
  std::string body;
  body += "<h1>Connect a Windows device</h1>\n<ol>\n";
  body +=
      "<li>Install the <a href=\"https://tailscale.com/download/windows\" "
      "rel=\"noreferrer\">Tailscale client for Windows</a>.</li>\n";
  body += "<li>Open a command prompt or PowerShell and run:\n";
  // cmd.exe does not know single quotes: a URL is shown as it is.
  body += CommandBox("tailscale login --login-server " + SafeUrl(site)) + "</li>\n";
  body += "<li>A browser opens. Follow the page that it shows.</li>\n</ol>\n";
  body += "<h2>For every user of the device</h2>\n";
  body +=
      "<p>To make this the login server of the Tailscale app itself, run in PowerShell as "
      "administrator, then restart the Tailscale service:</p>\n";
  body += CommandBox(
      "New-Item -Force -Path 'HKLM:\\SOFTWARE\\Tailscale IPN'\n"
      "New-ItemProperty -Force -Path 'HKLM:\\SOFTWARE\\Tailscale IPN' -Name LoginURL "
      "-PropertyType String -Value '" +
      SafeUrl(site) + "'");
  body += "<p>With this second value the device stays connected when nobody is logged in:</p>\n";
  body += CommandBox(
      "New-ItemProperty -Force -Path 'HKLM:\\SOFTWARE\\Tailscale IPN' -Name UnattendedMode "
      "-PropertyType String -Value always");
  return Html(site, 200, "Windows", body);
}

Page Error(const Site& site, int status) {
  const std::string_view title = StatusTitle(status);
  return Html(
      site, status, title,
      "<h1>" + EscapeHtml(title) + "</h1>\n<p>" + EscapeHtml(StatusAdvice(status)) + "</p>\n");
}

Page Robots() {
  Page page;
  page.content_type = "text/plain; charset=utf-8";
  page.headers.push_back({"content-security-policy", "default-src 'none'"});
  page.body = "User-agent: *\nDisallow: /\n";
  return page;
}

std::optional<Page> ForPath(const Site& site, std::string_view path) {
  constexpr std::string_view kProfiles = "/apple/";
  if (path == "/") return Home(site);
  if (path == "/windows") return Windows(site);
  if (path == "/apple") return Apple(site);
  if (path == "/favicon.ico") return Favicon();
  if (path == "/robots.txt") return Robots();
  if (path.starts_with(kProfiles)) return AppleProfile(site, path.substr(kProfiles.size()));
  return std::nullopt;
}

}  // namespace ringscale::serverd::pages
