#include "storage/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "core/base/fd.h"

namespace ringscale::storage {
core::Result<> SyncDirectory(const std::string& path) {
  core::Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return core::FailErrno("opening " + path, errno);
  if (::fsync(fd.get()) != 0) return core::FailErrno("syncing " + path, errno);
  return {};
}

core::Result<> MakeDirectories(const std::string& path, mode_t mode) {
  for (std::size_t end = 1; end <= path.size(); ++end) {
    if (end != path.size() && path[end] != '/') continue;
    const std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), mode) == 0) continue;
    const int error = errno;
    struct stat status{};
    if (::stat(part.c_str(), &status) != 0) {
      return core::FailErrno("creating the directory " + part, error);
    }
    if (!S_ISDIR(status.st_mode)) {
      return core::Fail(core::ErrorCode::kInvalid, part + " is not a directory");
    }
  }
  return {};
}

core::Result<> RenameFile(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) {
    return core::FailErrno("renaming " + from + " to " + to, errno);
  }
  return {};
}

bool FileExists(const std::string& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0;
}

}  // namespace ringscale::storage
