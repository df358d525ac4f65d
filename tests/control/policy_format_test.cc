#include "control/policy/format.h"

#include <gtest/gtest.h>

#include <string>

#include "control/policy/hujson.h"

namespace ringscale::control::policy {
namespace {

TEST(PolicyFormat, LaysOutAndKeepsComments) {
  const auto formatted = FormatHuJson(R"(// top
{
"groups" :{ "group:a":["x@" ,"y@",] , // who
 "group:b":[] },


    /* rules */ "acls":[
{"src":["*"],
"dst":["*:*"]}
] }
// end)");
  ASSERT_TRUE(formatted) << formatted.error().text();
  EXPECT_EQ(*formatted, R"(// top
{
  "groups": {"group:a": ["x@", "y@"], // who
    "group:b": []},

  /* rules */ "acls": [
    {"src": ["*"],
      "dst": ["*:*"]},
  ]}
// end
)");
}

TEST(PolicyFormat, TwiceIsOnceAndMeansTheSame) {
  for (const std::string text :
       {"{}", "[ 1 ,2, ]", "{\"a\" // x\n : // y\n 1 // z\n , // w\n }", "[\n\n1\n\n\n,2\n]",
        "/*a*/{/*b*/\"c\"/*d*/:/*e*/[/*f*/]/*g*/}/*h*/", "[{\n\"a\": [\n1, // one\n2\n]\n}\n]",
        "{\"s\": \"a\\\"b // no comment\", \"t\": \"/* nor this */\"}"}) {
    const auto once = FormatHuJson(text);
    ASSERT_TRUE(once) << text;
    const auto twice = FormatHuJson(*once);
    ASSERT_TRUE(twice) << *once << twice.error().text();
    EXPECT_EQ(*twice, *once);
    std::string before;
    std::string after;
    ParseHuJson(text)->Write(before);
    ParseHuJson(*once)->Write(after);
    EXPECT_EQ(after, before) << *once;
  }
}

TEST(PolicyFormat, OnlyHuJson) {
  EXPECT_FALSE(FormatHuJson("{"));
}

}  // namespace
}  // namespace ringscale::control::policy
