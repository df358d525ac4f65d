// The frame around every HTML page: head, style, script, footer and the headers
// that go with them.
#pragma once

#include <string>
#include <string_view>

#include "core/http/html.h"
#include "tools/serverd/pages/page.h"

namespace ringscale::serverd::pages {

using core::http::EscapeHtml;

// `title` is text, `body` is HTML.
[[nodiscard]] Page Html(const Site& site, int status, std::string_view title,
                        std::string_view body);

// A command for the visitor to copy: one tap selects all of it, and a button
// copies it where scripts run. `command` is text.
[[nodiscard]] std::string CommandBox(std::string_view command);

}  // namespace ringscale::serverd::pages
