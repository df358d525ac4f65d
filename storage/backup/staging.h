// How a restore replaces many files as one: they are collected in
// "restore.partial", which one rename makes "restore.ready" (the point of no
// return), and then moved to their places. A crash before the rename leaves the
// old files, one after it is completed at the next start. What is replaced is
// kept in "before-restore".
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.h"

namespace ringscale::storage {

inline constexpr std::string_view kStagingPartial = "restore.partial";
inline constexpr std::string_view kStagingReady = "restore.ready";
inline constexpr std::string_view kReplacedFiles = "before-restore";

// Removes what an earlier, failed restore left and makes an empty staging
// directory; its path.
core::Result<std::string> BeginStaging(const std::string& data_dir);
// Makes the staged files the real ones. Everything in them must be synced.
core::Result<> CommitStaging(const std::string& data_dir);
// Removes the staging directory: the restore failed.
void AbandonStaging(const std::string& data_dir);
// Completes a restore that was interrupted after its point of no return; does
// nothing when there is none. The caller holds the data directory's lock.
core::Result<> CompleteStagedRestore(const std::string& data_dir);

}  // namespace ringscale::storage
