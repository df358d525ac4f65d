// The `tests` and `sshTests` of a policy: statements of what must and must not be
// possible, tried whenever policy, users or nodes are about to change.
#pragma once

#include <optional>

#include "control/policy/engine.h"
#include "control/policy/error.h"

namespace ringscale::control::policy {

// nullopt: all hold. Else "test(s) failed", with a line for each that does not.
[[nodiscard]] std::optional<PolicyError> RunPolicyTests(const Engine& engine);

// Whether every address of `src` may reach some address of `dst` on the port.
// Rules with autogroup:self and `via` are not considered.
struct Reach {
  const AddressSet& src;
  const AddressSet& dst;
  std::uint16_t port = 0;
  std::optional<std::uint8_t> protocol;  // none: TCP, UDP or ICMP
};
[[nodiscard]] bool Reaches(const Engine& engine, const Reach& reach, bool any_source);

}  // namespace ringscale::control::policy
