// How many inputs a fuzz target took for valid, printed when it ends. A target that
// only ever sees refusals tests the first line of its parser: tools/check/fuzz fails it.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace ringscale::fuzz {

inline std::size_t accepted = 0;

inline const bool accepted_is_told =
    std::atexit([] { std::fprintf(stderr, "accepted: %zu\n", accepted); }) == 0;

// To be called where an input, or a step of it, got through.
inline void Accepted() {
  ++accepted;
}

}  // namespace ringscale::fuzz
