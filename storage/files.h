// Directories and renames that survive a crash.
#pragma once

#include <sys/types.h>

#include <string>

#include "core/base/result.h"

namespace ringscale::storage {

core::Result<> SyncDirectory(const std::string& path);
// The directory and those above it as far as they are missing.
core::Result<> MakeDirectories(const std::string& path, mode_t mode);
core::Result<> RenameFile(const std::string& from, const std::string& to);
[[nodiscard]] bool FileExists(const std::string& path);

}  // namespace ringscale::storage
