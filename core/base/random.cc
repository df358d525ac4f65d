#include "core/base/random.h"

#include <sys/random.h>

#include <array>
#include <cassert>
#include <cerrno>
#include <cstdlib>

namespace ringscale::core {

void SecureRandom(MutableBytes out) {
  while (!out.empty()) {
    const ssize_t got = getrandom(out.data(), out.size(), 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      std::abort();
    }
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::uint64_t SecureRandom64() {
  std::array<std::uint8_t, 8> raw{};
  SecureRandom(raw);
  return LoadLe64(raw.data());
}

std::string RandomText(std::size_t length, std::string_view alphabet) {
  assert(!alphabet.empty() && alphabet.size() <= 256);
  // Bytes at or above the largest multiple of the alphabet's size are thrown
  // away: the rest falls on every character equally often.
  const std::size_t bound = 256 - 256 % alphabet.size();
  std::string out;
  out.reserve(length);
  std::array<std::uint8_t, 64> raw{};
  while (out.size() < length) {
    SecureRandom(raw);
    for (const std::uint8_t byte : raw) {
      if (byte >= bound) continue;
      out += alphabet[byte % alphabet.size()];
      if (out.size() == length) break;
    }
  }
  return out;
}

}  // namespace ringscale::core
