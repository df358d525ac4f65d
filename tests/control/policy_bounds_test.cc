// What a policy may not grow to, and what looks large but is not.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "tests/control/policy_support.h"

namespace ringscale::control::policy {
namespace {

std::string ErrorOf(const std::string& policy, const DocumentLimits& limits = {}) {
  const auto document = ParseDocument(policy, limits);
  return document ? "" : document.error().text();
}

std::string Repeat(int count, const std::function<std::string(int)>& item) {
  std::string out;
  for (int i = 0; i < count; ++i) out += (i > 0 ? "," : "") + item(i);
  return out;
}

TEST(PolicyBounds, MillionsOfAddressesAreOneRange) {
  const Loaded ranges = Load(TestPolicy(R"("ipsets":{"ipset:v6":["::/0","remove fd00::/8"]},
"acls":[{"src":["10.0.0.0-10.255.255.254","ipset:v6"],"dst":["tag:db:1-65535"]}])"));
  ASSERT_TRUE(ranges.engine) << ranges.error;
  const std::string filter = FilterText(*ranges.engine, 4);
  EXPECT_LT(filter.size(), 600U);
  EXPECT_TRUE(filter.contains("10.0.0.0-10.255.255.254")) << filter;
}

TEST(PolicyBounds, SetsOfAddresses) {
  DocumentLimits limits;
  limits.max_set_ranges = 2;
  EXPECT_EQ(ErrorOf(R"({"ipsets":{"ipset:a":["10.0.0.1","10.0.0.3","10.0.0.5"]}})", limits),
            "ipsets hold too many ranges: the limit is 2");
  EXPECT_EQ(ErrorOf(R"({"ipsets":{"ipset:a":["10.0.0.1","10.0.0.2","10.0.0.3"]}})", limits), "");
  const std::string nested = Repeat(70, [](int i) {
    return "\"ipset:" + std::to_string(i) + "\":[\"" +
           (i == 69 ? "10.0.0.1" : "ipset:" + std::to_string(i + 1)) + "\"]";
  });
  EXPECT_TRUE(
      ErrorOf("{\"ipsets\":{" + nested + "}}").contains("ipsets nested too deep: the limit is 64"));
  const std::string turns = Repeat(1200, [](int i) {
    return i % 2 == 0 ? std::string(R"("10.0.0.1")") : std::string(R"("remove 10.0.0.1")");
  });
  EXPECT_TRUE(ErrorOf(R"({"ipsets":{"ipset:a":[)" + turns + "]}}")
                  .contains("turns between add and remove too often: the limit is 1000"));
  EXPECT_TRUE(ErrorOf(R"({"ipsets":{"ipset:a":["ipset:b"],"ipset:b":["ipset:c"],
"ipset:c":["ipset:a"]}})")
                  .contains("line 2, column 12: ipset \"ipset:a\" contains itself"));
}

TEST(PolicyBounds, GroupsDoNotNest) {
  EXPECT_EQ(
      ErrorOf("{\"groups\":{\"group:a\":[\"a@\"],\n\"group:b\":[\"group:a\"]}}"),
      "line 2, column 12: groups[\"group:b\"]: \"group:a\": group members cannot be recursive");
  DocumentLimits limits;
  limits.max_groups = 1;
  EXPECT_EQ(ErrorOf(R"({"groups":{"group:a":[],"group:b":[]}})", limits),
            "line 1, column 11: too many groups: the limit is 1");
}

TEST(PolicyBounds, TagsMayOwnEachOtherInACircle) {
  std::string owners = Repeat(2000, [](int i) {
    return "\"tag:t" + std::to_string(i) + "\":[\"tag:t" + std::to_string((i + 1) % 2000) + "\"]";
  });
  owners.insert(owners.find("[\"tag:t1000\"]") + 1, "\"alice@\",");
  const auto document = ParseDocument("{\"tagOwners\":{" + owners + "}}");
  ASSERT_TRUE(document) << document.error().text();
  const auto program = Program::Compile(std::make_shared<const Document>(*document), TestUsers());
  ASSERT_TRUE(program);
  EXPECT_TRUE((*program)->MayOwnTag("tag:t5", 1, {})) << "by way of a thousand others";
  EXPECT_FALSE((*program)->MayOwnTag("tag:t5", 2, {}));
}

TEST(PolicyBounds, SizeAndDepth) {
  EXPECT_TRUE(ErrorOf("{\"acls\":[],\"#" + std::string(std::size_t{5} << 20, 'x') + "\":1}")
                  .contains("4194304"));
  EXPECT_TRUE(ErrorOf(R"({"grants":[{"src":["*"],"dst":["*"],"app":{"example.com/x":)" +
                      std::string(100, '[') + std::string(100, ']') + "}}]}")
                  .contains("the limit is 32"));
  EXPECT_TRUE(ErrorOf(R"({"#":[)" + Repeat(600'000, [](int) { return std::string("1"); }) + "]}")
                  .contains("the limit is 500000"));
}

}  // namespace
}  // namespace ringscale::control::policy
