// What the web pages are made of.
#pragma once

#include <string>
#include <string_view>

#include "core/http/h1_response.h"

namespace ringscale::serverd::pages {

// Ready to send. Sets its own Content-Security-Policy.
using Page = core::http::HttpResponse;

// What every page says about the server that shows it.
struct Site {
  // The base URL as this visitor reaches the server, no trailing slash. May hold
  // a Host header that a stranger chose: pages escape it. Empty: nobody joins here.
  std::string server_url;
  std::string version;
};

// `text` as one word of a POSIX shell, quoted only where needed.
[[nodiscard]] std::string ShellWord(std::string_view text);

// The server's URL if it holds nothing that a shell or a URL parser would take
// for something else; else a placeholder. Commands that people copy use this.
[[nodiscard]] std::string SafeUrl(const Site& site);

}  // namespace ringscale::serverd::pages
