// JSON of any origin: what is read and written again must read as the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/json/reader.h"
#include "tests/fuzz/accepted.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ringscale::core::json::Parser parser;
  const auto value = parser.Parse(text);
  if (!value) return 0;
  const std::string once = value->Compact();
  ringscale::core::json::Parser again;
  const auto second = again.Parse(once, {.max_bytes = 16U << 20});
  if (!second || second->Compact() != once) std::abort();
  if (value->size() > 0) ringscale::fuzz::Accepted();
  return 0;
}
