// The data directory, owned by one process at a time.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/base/time.h"

namespace ringscale::storage {

// Holds the lock (flock on "ringscale.lock") for as long as it lives. Take it
// before anything in the directory is read, keys included: it also completes a
// restore that a crash interrupted.
class DataDir {
 public:
  // Creates the directory (0700) when missing. kConflict names the process that
  // has it; `wait` is how long to wait for that one to end (an upgrade's hand-over).
  static core::Result<DataDir> Lock(std::string path, core::Duration wait = {});

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string File(std::string_view name) const {
    return path_ + "/" + std::string(name);
  }
  [[nodiscard]] std::string DatabasePath() const { return File(kDatabaseFile); }

  static constexpr std::string_view kLockFile = "ringscale.lock";
  static constexpr std::string_view kDatabaseFile = "ringscale.db";

 private:
  DataDir(std::string path, core::Fd lock) : path_(std::move(path)), lock_(std::move(lock)) {}

  std::string path_;
  core::Fd lock_;
};

}  // namespace ringscale::storage
