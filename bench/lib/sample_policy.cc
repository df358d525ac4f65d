#include "bench/lib/sample_policy.h"

#include <fmt/format.h>

#include <vector>

namespace ringscale::bench {
namespace {

constexpr std::size_t kMembers = 6;   // of a group
constexpr std::size_t kSubnets = 50;  // two routers each, in a tailnet of 10,000

std::string Tag(const SamplePolicyShape& shape, std::size_t number) {
  return fmt::format("tag:t{}", number % shape.tags);
}

std::string Rule(const SamplePolicyShape& shape, std::size_t number, std::size_t port) {
  const std::string group = fmt::format("group:g{}", number % shape.groups);
  const std::string tag = Tag(shape, number * 3);
  if (number % 100 == 0) {
    return fmt::format(R"({{"src":["autogroup:member"],"dst":["autogroup:self"],"ip":["tcp:{}"]}})",
                       port);
  }
  if (number % 50 == 1) {
    return fmt::format(R"({{"src":["{}"],"dst":["10.{}.0.0/16"],"ip":["443"],"via":["{}"]}})",
                       group, number % kSubnets, Tag(shape, number % (2 * kSubnets)));
  }
  if (number % 3 == 0) {
    return fmt::format(R"({{"src":["{}"],"dst":["{}"],"ip":["tcp:{}"]}})", tag,
                       Tag(shape, number * 7 + 1), port);
  }
  return fmt::format(R"({{"src":["{}"],"dst":["{}"],"ip":["tcp:{}"]}})", group, tag, port);
}

void Separate(std::string& list) {
  if (!list.empty()) list += ",\n    ";
}

}  // namespace

std::string SamplePolicy(const SamplePolicyShape& shape, const SamplePolicyChange& change) {
  std::string groups;
  for (std::size_t i = 0; i < shape.groups; ++i) {
    Separate(groups);
    groups += fmt::format("\"group:g{}\": [", i);
    for (std::size_t j = 0; j < kMembers; ++j) {
      groups +=
          fmt::format(R"({}"user{}@")", j > 0 ? ", " : "", 1 + (i * 7 + j * 13) % shape.users);
    }
    if (i == 2 && change.guest) groups += fmt::format(R"(, "user{}@")", *change.guest);
    groups += "]";
  }
  std::string tags;
  for (std::size_t i = 0; i < shape.tags; ++i) {
    Separate(tags);
    tags += fmt::format(R"("{}": ["autogroup:member"])", Tag(shape, i));
  }
  std::string rules;
  for (std::size_t i = 0; i < shape.rules; ++i) {
    Separate(rules);
    rules += Rule(shape, i, (change.other_port == i ? 20'000 : 1000) + i);
  }
  return fmt::format(
      "{{\n  \"groups\": {{\n    {}}},\n  \"tagOwners\": {{\n    {}}},\n"
      "  \"autoApprovers\": {{\"routes\": {{\"10.0.0.0/8\": [\"autogroup:tagged\"]}}}},\n"
      "  \"ssh\": [{{\"action\": \"check\", \"src\": [\"autogroup:member\"], "
      "\"dst\": [\"autogroup:self\"], \"users\": [\"autogroup:nonroot\"]}}],\n"
      "  \"nodeAttrs\": [{{\"target\": [\"{}\"], \"attr\": [\"custom:sample\"]}}],\n"
      "  \"grants\": [\n    {}]\n}}\n",
      groups, tags, Tag(shape, 0), rules);
}

SampleNode SampleNodeOf(const SamplePolicyShape& shape, std::size_t number) {
  SampleNode node{.user = 1 + number % shape.users, .tag = {}, .route = {}};
  if (number % 100 == 0) {
    const std::size_t router = number / 100;
    node.tag = Tag(shape, router % (2 * kSubnets));
    node.route = fmt::format("10.{}.0.0/16", router % kSubnets);
  } else if (number % 3 == 0) {
    node.tag = Tag(shape, number / 3);
  }
  return node;
}

}  // namespace ringscale::bench
