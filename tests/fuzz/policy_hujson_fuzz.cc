// Any bytes as HuJSON: a value whose plain form reads back as itself, or an error
// with a place.
#include <cstdlib>
#include <string>

#include "control/policy/hujson.h"
#include "core/base/bytes.h"
#include "tests/fuzz/accepted.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ringscale;
  using namespace ringscale::control::policy;
  const auto value = ParseHuJson(core::AsText({data, size}));
  if (!value) {
    if (value.error().message.empty() || value.error().at.line == 0) std::abort();
    return 0;
  }
  std::string plain;
  value->Write(plain);
  const auto again = ParseHuJson(plain);
  std::string twice;
  if (!again) std::abort();
  again->Write(twice);
  if (plain != twice) std::abort();
  ringscale::fuzz::Accepted();
  return 0;
}
