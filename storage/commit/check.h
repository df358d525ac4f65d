// Is this file a whole database of ours? LMDB maps its file and trusts it: a
// truncated one is SIGBUS, a damaged page anything from SIGSEGV to wrong rows.
// So a forked child opens and walks it first; if that dies, only the child dies.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/result.h"

namespace ringscale::storage {

struct DatabaseInfo {
  std::uint32_t schema_version = 0;
  std::uint64_t records = 0;
};

// Walks every record of every table: checksums, fields (when the schema is
// `known_schema`), keys in order, counts, and the lists of used and free pages.
// kCorrupt "database damaged: ..." or kUnsupported for a newer schema. Nobody may
// write meanwhile. Forks: call it before threads hold locks that matter.
core::Result<DatabaseInfo> CheckDatabase(const std::string& path, std::uint32_t known_schema);

}  // namespace ringscale::storage
