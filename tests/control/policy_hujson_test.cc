#include <gtest/gtest.h>

#include <string>

#include "control/policy/hujson.h"

namespace ringscale::control::policy {
namespace {

std::string Plain(std::string_view text) {
  const auto value = ParseHuJson(text);
  if (!value) return value.error().text();
  std::string out;
  value->Write(out);
  return out;
}

TEST(PolicyHuJson, CommentsAndTrailingCommas) {
  EXPECT_EQ(Plain("// a\n{ \"a\": [1, 2.5e3, -0,], /* b */ \"b\": {\"c\": null,},}\n// end"),
            R"({"a":[1,2.5e3,-0],"b":{"c":null}})");
  EXPECT_EQ(Plain("[true,false,null,\"\"]"), R"([true,false,null,""])");
  EXPECT_EQ(Plain("[]"), "[]");
  EXPECT_EQ(Plain("/**/{}//"), "{}");
}

TEST(PolicyHuJson, EscapesAreRead) {
  const auto value = ParseHuJson(R"(["\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude80"])");
  ASSERT_TRUE(value) << value.error().text();
  EXPECT_EQ(value->items[0].text, "\"\\/\b\f\n\r\tA\xc3\xa9\xf0\x9f\x9a\x80");
}

TEST(PolicyHuJson, EveryValueKnowsItsPlace) {
  const auto value = ParseHuJson("{\n  // \xc3\xa9\n  \"\xc3\xa9\xc3\xa9\": [7,\n 8]\n}");
  ASSERT_TRUE(value) << value.error().text();
  const HuMember& member = value->members.at(0);
  EXPECT_EQ(member.at, (Position{3, 3}));
  EXPECT_EQ(member.value.at, (Position{3, 9}));
  EXPECT_EQ(member.value.items.at(1).at, (Position{4, 2}));
}

TEST(PolicyHuJson, ErrorsSayWhereAndWhat) {
  const struct {
    std::string text;
    std::string error;
  } cases[] = {
      {"", "line 1, column 1: unexpected end of the policy, a value was expected"},
      {"{\"a\": }", "line 1, column 7: unexpected \"}\", a value was expected"},
      {"{\"a\": 1\n \"b\": 2}",
       "line 2, column 2: unexpected \"\\\"\" after a member, a comma or \"}\" was expected"},
      {"[1 2]",
       "line 1, column 4: unexpected \"2\" after an element, a comma or \"]\" was expected"},
      {"{a: 1}", "line 1, column 2: unexpected \"a\", a member name was expected"},
      {"{\"a\" 1}", "line 1, column 6: unexpected \"1\" after a member name, \":\" was expected"},
      {"{\"a\":1,\n\"a\":2}", "line 2, column 1: duplicate member name \"a\""},
      {"[1",
       "line 1, column 3: unexpected the end of the policy after an element, a comma or "
       "\"]\" was expected"},
      {"[\"a", "line 1, column 2: string is not closed"},
      {"[\"a\n\"]",
       "line 1, column 4: a string must not contain line breaks or control characters"},
      {"[\"\\x\"]", "line 1, column 3: unknown escape in a string"},
      {"[\"\\u12\"]", "line 1, column 3: \\u needs four hexadecimal digits"},
      {"[\"\\ud800x\"]", "line 1, column 3: half of a surrogate pair in a string"},
      {"[\"\xff\"]", "line 1, column 3: invalid UTF-8 in a string"},
      {"[\"\xed\xa0\x80\"]", "line 1, column 3: invalid UTF-8 in a string"},
      {"/* open", "line 1, column 1: comment is not closed"},
      {"/ x", "line 1, column 1: a comment begins with // or /*"},
      {"01", "line 1, column 1: a number must not begin with a zero"},
      {"1.", "line 1, column 1: a number needs digits after the point"},
      {"1e", "line 1, column 1: a number needs digits in its exponent"},
      {"-", "line 1, column 1: a number needs digits"},
      {"nul", "line 1, column 1: unexpected \"n\", a value was expected"},
      {"{} {}", "line 1, column 4: unexpected text after the policy"},
  };
  for (const auto& [text, error] : cases) EXPECT_EQ(Plain(text), error) << text;
}

TEST(PolicyHuJson, LimitsAreNamed) {
  HuLimits limits;
  limits.max_depth = 2;
  EXPECT_TRUE(ParseHuJson("[[1]]", limits));
  const auto deep = ParseHuJson("[[[1]]]", limits);
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().text(), "line 1, column 4: nested too deep: the limit is 2");
  limits.max_values = 3;
  const auto many = ParseHuJson("[1,2,3]", limits);
  ASSERT_FALSE(many);
  EXPECT_EQ(many.error().text(), "line 1, column 6: too many values: the limit is 3");
  limits.max_bytes = 4;
  const auto large = ParseHuJson("[1,2]", limits);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().text(), "policy is too large: 5 bytes, the limit is 4");
  EXPECT_FALSE(ParseHuJson(std::string(100'000, '[')));
}

}  // namespace
}  // namespace ringscale::control::policy
