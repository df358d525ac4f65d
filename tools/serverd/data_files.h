// The files of the data directory that are the server's own, beside the database.
#pragma once

#include "core/base/result.h"
#include "core/base/time.h"
#include "storage/data_dir.h"
#include "tools/serverd/config.h"

namespace ringscale::serverd {

inline constexpr const char* kNoiseKeyFile = "noise_private.key";
inline constexpr const char* kRelayKeyFile = "derp_private.key";

// The directory that the configuration names. kConflict: another process has it, and
// still had it after `wait`.
inline core::Result<storage::DataDir> LockData(const Config& config, core::Duration wait = {}) {
  return config.Blame({"data_dir"}, storage::DataDir::Lock(config.data_dir, wait));
}

}  // namespace ringscale::serverd
