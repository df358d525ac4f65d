#include <string>

#include "control/state/secrets.h"
#include "tools/serverd/pages/layout.h"
#include "tools/serverd/pages/pages.h"

namespace ringscale::serverd::pages {
namespace {

std::string TimeLeft(int minutes) {
  if (minutes <= 1) return "less than a minute";
  return "about " + std::to_string(minutes) + " minutes";
}

std::string RejectCommand(std::string_view id) {
  return CommandBox("ringscale auth reject --auth-id " + std::string(id));
}

}  // namespace

Page Register(const Site& site, std::string_view id, const std::optional<LoginRequest>& request) {
  if (!control::IsAuthId(id)) {
    return Html(site, 400, "Invalid login address",
                "<h1>This login address is not complete</h1>\n<p>The part after "
                "<code>/register/</code> is not one that this server makes. Copy the whole "
                "address that the Tailscale client printed, or run its command again.</p>\n");
  }
  if (!request) {
    return Html(site, 410, "Login request gone",
                "<h1>This login request has expired or was already answered</h1>\n<p>If your "
                "device is connected by now, you can close this page. If not, run this on the "
                "device again and open the new address:</p>\n" +
                    CommandBox("tailscale up --login-server " + ShellWord(SafeUrl(site))));
  }
  std::string body = "<h1>A device asks to join</h1>\n";
  body +=
      "<p>Nothing has been changed yet. The person who runs this server lets the device in "
      "with this command, on the server, with the name of the user it shall belong to:</p>\n";
  body += CommandBox("ringscale auth register --auth-id " + std::string(id) + " --user USERNAME");
  body +=
      "<p>If there is no user yet, <code>ringscale users create NAME</code> makes one. Where the "
      "shell does not find <code>ringscale</code>, use the whole path that the server printed "
      "when it started.</p>\n";
  body += "<p>The device connects by itself a moment later.</p>\n<dl>\n";
  if (!request->hostname.empty()) {
    body += "<dt>Device</dt><dd>" + EscapeHtml(request->hostname) + "</dd>\n";
  }
  if (!request->os.empty()) body += "<dt>System</dt><dd>" + EscapeHtml(request->os) + "</dd>\n";
  body += "<dt>Expires in</dt><dd>" + TimeLeft(request->minutes_left) + "</dd>\n</dl>\n";
  body += "<p>Only approve a device that you know. To refuse it:</p>\n";
  body += RejectCommand(id);
  return Html(site, 200, "A device asks to join", body);
}

Page Auth(const Site& site, std::string_view id, const std::optional<SshCheck>& check) {
  if (!control::IsAuthId(id)) {
    return Html(site, 400, "Invalid address",
                "<h1>This address is not complete</h1>\n<p>The part after "
                "<code>/auth/</code> is not one that this server makes. Copy the whole address "
                "that the SSH session printed.</p>\n");
  }
  if (!check) {
    return Html(site, 410, "Approval request gone",
                "<h1>This approval request has expired or was already answered</h1>\n<p>If your "
                "SSH session has begun, you can close this page. If not, start it again and open "
                "the new address.</p>\n");
  }
  std::string body = "<h1>An SSH session asks for approval</h1>\n";
  body +=
      "<p>Nothing has been let in yet. The person who runs this server approves the session with "
      "this command, on the server:</p>\n";
  body += CommandBox("ringscale auth approve --auth-id " + std::string(id));
  body += "<p>The session goes on by itself a moment later.</p>\n<dl>\n";
  body += "<dt>From</dt><dd>" + EscapeHtml(check->source);
  if (!check->owner.empty()) body += ", a device of " + EscapeHtml(check->owner);
  body += "</dd>\n<dt>To</dt><dd>" + EscapeHtml(check->destination) + "</dd>\n";
  if (!check->local_user.empty()) {
    body += "<dt>As user</dt><dd>" + EscapeHtml(check->local_user) + "</dd>\n";
  }
  body += "<dt>Expires in</dt><dd>" + TimeLeft(check->minutes_left) + "</dd>\n</dl>\n";
  body += "<p>Only approve a session that you know of. To refuse it:</p>\n";
  body += RejectCommand(id);
  return Html(site, 200, "An SSH session asks for approval", body);
}

}  // namespace ringscale::serverd::pages
