// Stands in for the C library's calls by which LMDB reaches the disk, so that
// tests can make them fail.
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>

#include "tests/storage/storage_support.h"

namespace ringscale::storage {
namespace {

struct Failure {
  std::mutex mutex;
  int skip = 0;
  int left = 0;
  int error = 0;
};
Failure failures[2];

bool Fails(DiskCall call) {
  Failure& failure = failures[static_cast<int>(call)];
  const std::lock_guard lock(failure.mutex);
  if (failure.left == 0) return false;
  if (failure.skip > 0) {
    --failure.skip;
    return false;
  }
  --failure.left;
  errno = failure.error;
  return true;
}

}  // namespace

void FailDisk(DiskCall call, int count, int error, int skip) {
  Failure& failure = failures[static_cast<int>(call)];
  const std::lock_guard lock(failure.mutex);
  failure.left = count;
  failure.error = error;
  failure.skip = skip;
}

}  // namespace ringscale::storage

using ringscale::storage::DiskCall;

extern "C" int fdatasync(int fd) {
  if (ringscale::storage::Fails(DiskCall::kSync)) return -1;
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}

extern "C" ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  if (ringscale::storage::Fails(DiskCall::kWrite)) return -1;
  return ::syscall(SYS_pwrite64, fd, bytes, size, offset);
}
