// The `tests` and `sshTests` of a policy: statements of what must and must not be
// possible, tried whenever policy, users or nodes are about to change.
#pragma once

#include <optional>
#include <span>

#include "control/policy/engine.h"
#include "control/policy/error.h"

namespace ringscale::control::policy {

// nullopt: all hold. Else "test(s) failed", with a line for each that does not. Users
// and tags without nodes are tried with a node made up for the test, which is gone
// afterwards: a policy can be tested before anybody has joined.
[[nodiscard]] std::optional<PolicyError> RunPolicyTests(Engine& engine);

// Whether every source may reach some address of `dst` on the port; of a source that is
// a range, some address. Rules with autogroup:self and `via` are not considered.
struct Reach {
  std::span<const AddressRange> src;
  const AddressSet& dst;
  std::uint16_t port = 0;
  std::optional<std::uint8_t> protocol;  // none: TCP or UDP
  const PostureAttributes& device;       // what the source is taken for
};
[[nodiscard]] bool Reaches(const Engine& engine, const Reach& reach, bool any_source);

}  // namespace ringscale::control::policy
