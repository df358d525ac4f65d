#include "core/http/html.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace ringscale::core::http {
namespace {

TEST(EscapeHtml, LeavesPlainTextAlone) {
  EXPECT_EQ(EscapeHtml(""), "");
  EXPECT_EQ(EscapeHtml("5 µs;\n\tgrüße 日本 #34"), "5 µs;\n\tgrüße 日本 #34");
}

TEST(EscapeHtml, NothingOpensATagOrEndsAnAttribute) {
  EXPECT_EQ(EscapeHtml("<a href=\"x\">'&'</a>"),
            "&lt;a href=&#34;x&#34;&gt;&#39;&amp;&#39;&lt;/a&gt;");
  EXPECT_EQ(EscapeHtml("&lt;"), "&amp;lt;") << "what looks escaped is text too";
}

TEST(EscapeHtml, ControlCharactersAreReplaced) {
  using namespace std::string_view_literals;
  EXPECT_EQ(EscapeHtml("a\0b\x1B\r"sv), "a\uFFFDb\uFFFD\uFFFD");
}

}  // namespace
}  // namespace ringscale::core::http
