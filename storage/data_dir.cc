#include "storage/data_dir.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "storage/backup/staging.h"
#include "storage/files.h"

namespace ringscale::storage {
namespace {

constexpr int kPollMillis = 20;

std::string Owner(int fd) {
  char buffer[32];
  const ssize_t n = ::pread(fd, buffer, sizeof(buffer), 0);
  std::string pid(buffer, n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!pid.empty() && (pid.back() < '0' || pid.back() > '9')) pid.pop_back();
  return pid.empty() ? "unknown" : pid;
}

}  // namespace

core::Result<DataDir> DataDir::Lock(std::string path, core::Duration wait) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.empty()) return core::Fail(core::ErrorCode::kInvalid, "the data directory has no name");
  if (auto made = MakeDirectories(path, 0700); !made) return core::Forward(made);

  const std::string file = path + "/" + std::string(kLockFile);
  core::Fd lock(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) {
    return core::FailErrno("the data directory " + path + " cannot be written", errno);
  }
  std::int64_t left = wait.millis();
  while (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return core::FailErrno("locking " + file, errno);
    if (left <= 0) {
      return core::Fail(core::ErrorCode::kConflict, "another ringscale uses the data directory " +
                                                        path + " (pid " + Owner(lock.get()) + ")");
    }
    ::poll(nullptr, 0, kPollMillis);
    left -= kPollMillis;
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock.get(), 0) != 0 ||
      ::pwrite(lock.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return core::FailErrno("the data directory " + path + " cannot be written", errno);
  }
  DataDir dir(std::move(path), std::move(lock));
  if (auto done = CompleteStagedRestore(dir.path()); !done) return core::Forward(done);
  return dir;
}

}  // namespace ringscale::storage
