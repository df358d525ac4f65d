// Secrets as text and bytes: compared in constant time, wiped after use.
#pragma once

#include <string>
#include <string_view>

#include "core/base/bytes.h"

namespace ringscale::core {

// Takes the same time wherever the two differ. Only the lengths show.
[[nodiscard]] bool SecretEquals(std::string_view a, std::string_view b);
[[nodiscard]] bool SecretEquals(Bytes a, Bytes b);

// Overwrites memory that held a secret; the compiler cannot drop it.
void Wipe(MutableBytes memory);
void Wipe(std::string& text);  // the whole capacity; leaves it empty

}  // namespace ringscale::core
