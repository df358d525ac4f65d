// The web pages that a person meets. Pure functions: no clock, no state, no I/O,
// so any thread may call them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tools/serverd/pages/page.h"

namespace ringscale::serverd::pages {

// "/": what this is, its version, how to connect each kind of device.
[[nodiscard]] Page Home(const Site& site);

// What is known about a login request, for "/register/<id>".
struct LoginRequest {
  std::string hostname;  // as the client gave it; may be empty or anything
  std::string os;
  int minutes_left = 0;  // until the request expires
};
// "/register/<id>": the command that lets the device in. nullopt = the request
// is not pending (any more): 410, with what to do. An id that is not of the form
// that this server makes: 400.
[[nodiscard]] Page Register(const Site& site, std::string_view id,
                            const std::optional<LoginRequest>& request);

// An SSH session that a check rule of the policy holds, for "/auth/<id>".
struct SshCheck {
  std::string source;  // node names
  std::string owner;   // of the source; empty: a tagged node
  std::string destination;
  std::string local_user;  // as the client gave it
  int minutes_left = 0;
};
// "/auth/<id>": the command that lets the session in. nullopt and ids: as Register.
[[nodiscard]] Page Auth(const Site& site, std::string_view id,
                        const std::optional<SshCheck>& check);

// "/windows" and "/apple".
[[nodiscard]] Page Windows(const Site& site);
[[nodiscard]] Page Apple(const Site& site);
// "/apple/<platform>": a configuration profile that sets the login server. The
// platforms are ios, macos-app-store and macos-standalone; others get 400.
[[nodiscard]] Page AppleProfile(const Site& site, std::string_view platform);

// An error for a browser: 400, 403, 404, 405, 410, 429, 500, 503, ... with words
// for the person, never a technical detail.
[[nodiscard]] Page Error(const Site& site, int status);

[[nodiscard]] Page Favicon();
[[nodiscard]] Page Robots();

// The page of a path, for everything that needs no state: all of the above except
// Register and Auth. nullopt: not one of ours.
[[nodiscard]] std::optional<Page> ForPath(const Site& site, std::string_view path);

}  // namespace ringscale::serverd::pages
