#include "core/crypto/sodium_init.h"

#include <sodium.h>

#include <cstdlib>

namespace ringscale::core::internal {

void InitSodium() {
  static const bool ready = [] {
    if (sodium_init() < 0) std::abort();
    return true;
  }();
  (void)ready;
}

}  // namespace ringscale::core::internal
