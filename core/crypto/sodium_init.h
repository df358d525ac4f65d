// libsodium wants to be initialised once before its first use.
#pragma once

namespace ringscale::core::internal {

// Any thread, as often as wanted. A system on which libsodium cannot start has no
// random source: the process stops.
void InitSodium();

}  // namespace ringscale::core::internal
