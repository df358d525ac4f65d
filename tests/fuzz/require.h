// What must hold whatever the input is; a sanitizer's report says the rest.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace ringscale::fuzz {

inline void Require(bool right, int line = __builtin_LINE()) {
  if (right) return;
  std::fprintf(stderr, "line %d: not as required\n", line);
  std::abort();
}

}  // namespace ringscale::fuzz
