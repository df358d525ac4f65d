// Text inside HTML.
#pragma once

#include <string>
#include <string_view>

namespace ringscale::core::http {

// `text` for HTML and XML, in element content and in quoted attributes.
[[nodiscard]] std::string EscapeHtml(std::string_view text);

}  // namespace ringscale::core::http
