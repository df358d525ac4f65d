// The checksum of records and backups: CRC-32C (Castagnoli, RFC 3720 appendix
// B.4). Chosen because it is there to find accidents, not forgeries: it finds
// every burst of up to 32 bits and misses other damage once in 2^32, a table of
// 8 KiB makes it run at memory speed on any CPU, and other tools know it.
#pragma once

#include <cstdint>

#include "core/base/bytes.h"

namespace ringscale::storage {

// Of `bytes`; pass the result of the bytes before to continue.
std::uint32_t Crc32c(core::Bytes bytes, std::uint32_t before = 0);

}  // namespace ringscale::storage
