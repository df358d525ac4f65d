// The policy of a large tailnet: groups of people who reach tagged servers, servers
// that reach servers, everybody's own devices, subnets behind chosen routers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ringscale::bench {

struct SamplePolicyShape {
  std::size_t users = 300;  // user1@ ...
  std::size_t groups = 100;
  std::size_t tags = 100;
  std::size_t rules = 1000;
};

// What of it is to be otherwise.
struct SamplePolicyChange {
  std::optional<std::size_t> guest;       // this user is in group:g2 too
  std::optional<std::size_t> other_port;  // of this rule
};

[[nodiscard]] std::string SamplePolicy(const SamplePolicyShape& shape,
                                       const SamplePolicyChange& change = {});

// Whose the nodes are: two of three belong to a user, each third one has a tag, and
// one in a hundred is a subnet router. Numbers begin at 0.
struct SampleNode {
  std::size_t user = 0;  // 1 and up; also of a tagged one
  std::string tag;       // empty: the user's
  std::string route;     // empty: none
};
[[nodiscard]] SampleNode SampleNodeOf(const SamplePolicyShape& shape, std::size_t number);

}  // namespace ringscale::bench
