#include "core/json/writer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "core/json/reader.h"

namespace ringscale::core::json {
namespace {

std::string Quoted(std::string_view text) {
  std::string out;
  AppendQuoted(out, text);
  return out;
}

TEST(JsonWriter, Structure) {
  std::string out;
  Writer json(out);
  json.BeginObject().Field("a", 1).Key("b").BeginArray();
  json.Value(true).Null().Value("x").BeginObject().EndObject().Value(-2).EndArray();
  json.Key("c").BeginObject().NumberKey(7).Value(1.5).EndObject();
  json.RawField("d", "[1]").PlainField("e", "plain").ForeignKey("f\"").Value(false).EndObject();
  EXPECT_EQ(out,
            R"({"a":1,"b":[true,null,"x",{},-2],"c":{"7":1.5},"d":[1],"e":"plain","f\"":false})");
}

TEST(JsonWriter, Numbers) {
  std::string out;
  Writer json(out);
  json.BeginArray();
  json.Value(std::numeric_limits<std::uint64_t>::max());
  json.Value(std::numeric_limits<std::int64_t>::min());
  json.Value(std::uint8_t{200});
  json.Value(0.1).Value(std::numeric_limits<double>::infinity());
  json.EndArray();
  EXPECT_EQ(out, "[18446744073709551615,-9223372036854775808,200,0.1,null]");
}

TEST(JsonWriter, EscapesAsGoDoes) {
  EXPECT_EQ(Quoted("a\"b\\c"), R"("a\"b\\c")");
  EXPECT_EQ(Quoted("\b\f\n\r\t\x01\x1f\x7f"), "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"");
  EXPECT_EQ(Quoted("<a>&"), R"("\u003ca\u003e\u0026")");
  EXPECT_EQ(Quoted("\xE2\x80\xA8\xE2\x80\xA9\xE2\x80\xA7"), "\"\\u2028\\u2029\xE2\x80\xA7\"");
  EXPECT_EQ(Quoted(std::string_view("\0", 1)), R"("\u0000")");
  EXPECT_EQ(Quoted("gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80"),
            "\"gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80\"");
}

TEST(JsonWriter, BytesThatAreNotUtf8) {
  EXPECT_EQ(Quoted("\xff"), R"("\ufffd")");
  EXPECT_EQ(Quoted("a\xC3"), R"("a\ufffd")");
  EXPECT_EQ(Quoted("\xC0\x80"), R"("\ufffd\ufffd")");            // overlong
  EXPECT_EQ(Quoted("\xED\xA0\x80"), R"("\ufffd\ufffd\ufffd")");  // surrogate
  EXPECT_EQ(Quoted("\xF4\x90\x80\x80"), R"("\ufffd\ufffd\ufffd\ufffd")");
  EXPECT_EQ(Quoted("\xE0\x80\x80"), R"("\ufffd\ufffd\ufffd")");
}

TEST(JsonWriter, EveryByteReadsBack) {
  std::string text;
  for (int c = 0; c < 0x80; ++c) text += static_cast<char>(c);
  Parser parser;
  const auto value = parser.Parse(Quoted(text));
  ASSERT_TRUE(value.has_value());
  EXPECT_EQ(value->AsString(), text);
}

TEST(JsonReader, Kinds) {
  Parser parser;
  const auto root = parser.Parse(
      R"({"i":-5,"u":18446744073709551615,"d":1.0,"b":true,"s":"\u003cx","n":null,"a":[1,2],"o":{}})");
  ASSERT_TRUE(root.has_value());
  const Value& v = *root;
  EXPECT_EQ(v["i"].AsInt(), -5);
  EXPECT_EQ(v["i"].AsUint(), std::nullopt);
  EXPECT_EQ(v["u"].AsUint(), 18446744073709551615U);
  EXPECT_EQ(v["u"].AsInt(), std::nullopt);
  EXPECT_EQ(v["d"].AsInt(), std::nullopt) << "1.0 is no integer in Go either";
  EXPECT_EQ(v["d"].AsDouble(), 1.0);
  EXPECT_EQ(v["i"].AsDouble(), -5.0);
  EXPECT_EQ(v["b"].AsBool(), true);
  EXPECT_EQ(v["s"].AsString(), "<x");
  EXPECT_TRUE(v["n"].is_null());
  EXPECT_TRUE(v["n"].absent());
  EXPECT_TRUE(v["zz"].missing());
  EXPECT_TRUE(v["i"]["x"].missing());
  EXPECT_EQ(v["a"].size(), 2U);
  EXPECT_EQ(v.size(), 8U);
  int sum = 0;
  v["a"].Elements([&](Value element) {
    sum += static_cast<int>(*element.AsInt());
    return true;
  });
  EXPECT_EQ(sum, 3);
  v["o"].Elements([&](Value) { return ADD_FAILURE(), true; });
  v["a"].Members([&](std::string_view, Value) { return ADD_FAILURE(), true; });
}

TEST(JsonReader, LastOfEqualKeysCounts) {
  Parser parser;
  EXPECT_EQ((*parser.Parse(R"({"a":1,"a":2})"))["a"].AsInt(), 2);
}

TEST(JsonReader, CompactKeepsEverything) {
  Parser parser;
  const char* text = R"({ "a" : [ 1 , -2.5, {"x":"\u003c"} ], "b":null, "c":{"d":false} })";
  EXPECT_EQ(parser.Parse(text)->Compact(),
            R"({"a":[1,-2.5,{"x":"\u003c"}],"b":null,"c":{"d":false}})");
}

TEST(JsonReader, CompactNumbersReadTheSameAgain) {
  Parser parser;
  EXPECT_EQ(parser.Parse("[-0.0, -2e-400, 2e60, -9007199254740993.0, 0.1, -7]")->Compact(),
            "[-0.0,-0.0,2e+60,-9.007199254740992e+15,0.1,-7]");
}

TEST(JsonReader, Limits) {
  Parser parser;
  EXPECT_EQ(parser.Parse("[1,2,3]", {.max_bytes = 6}).error().code, ErrorCode::kLimit);
  EXPECT_TRUE(parser.Parse("[1,2,3]", {.max_bytes = 7}).has_value());
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + "1" + std::string(depth, ']');
  };
  EXPECT_TRUE(parser.Parse(nested(8), {.max_depth = 8}).has_value());
  EXPECT_EQ(parser.Parse(nested(9), {.max_depth = 8}).error().code, ErrorCode::kLimit);
  EXPECT_EQ(parser.Parse(nested(100'000), {.max_depth = 8}).error().code, ErrorCode::kLimit);
  EXPECT_TRUE(parser.Parse(nested(20)).has_value()) << "the default again";
}

TEST(JsonReader, Malformed) {
  Parser parser;
  for (const char* text : {"", " ", "{", "[1,]", "{\"a\":}", "nul", "\"\xff\"", "1 2", "{a:1}",
                           "\"\\ud800\"", "01", "[1}"}) {
    const auto result = parser.Parse(text);
    EXPECT_FALSE(result.has_value()) << text;
  }
  EXPECT_TRUE(parser.Parse("[]").has_value()) << "usable after errors";
}

}  // namespace
}  // namespace ringscale::core::json
