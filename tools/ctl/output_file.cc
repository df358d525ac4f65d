#include "tools/ctl/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace ringscale::ctl {

using core::ErrorCode;
using core::Fail;
using core::Result;

namespace {

std::unexpected<core::Error> Exists(const std::string& path) {
  return Fail(ErrorCode::kExists, path + " exists already; --force replaces it");
}

}  // namespace

Result<> WriteAll(int fd, std::string_view bytes, const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return core::FailErrno("cannot write " + name, errno);
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

OutputFile::OutputFile(std::string path, std::string partial, core::Fd fd, bool replace)
    : path_(std::move(path)), partial_(std::move(partial)), fd_(std::move(fd)), replace_(replace) {}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      partial_(std::exchange(other.partial_, {})),
      fd_(std::move(other.fd_)),
      replace_(other.replace_) {}

OutputFile::~OutputFile() {
  if (!partial_.empty()) ::unlink(partial_.c_str());
}

Result<OutputFile> OutputFile::Create(const std::string& path, bool replace) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) == 0) {
    if (!replace) return Exists(path);
    if (!S_ISREG(info.st_mode)) {
      return Fail(ErrorCode::kInvalid, path + " is not a regular file");
    }
  }
  std::string partial = path + ".partial-XXXXXX";
  core::Fd fd(::mkostemp(partial.data(), O_CLOEXEC));  // 0600
  if (!fd.valid()) return core::FailErrno("cannot create " + path, errno);
  return OutputFile(path, std::move(partial), std::move(fd), replace);
}

Result<> OutputFile::Write(std::string_view bytes) {
  return WriteAll(fd_.get(), bytes, path_);
}

Result<> OutputFile::Finish() {
  if (::fsync(fd_.get()) != 0) return core::FailErrno("cannot write " + path_, errno);
  // Somebody may have made the file meanwhile.
  const unsigned flags = replace_ ? 0 : RENAME_NOREPLACE;
  if (::renameat2(AT_FDCWD, partial_.c_str(), AT_FDCWD, path_.c_str(), flags) != 0) {
    if (errno == EEXIST) return Exists(path_);
    if (errno != EINVAL) return core::FailErrno("cannot create " + path_, errno);
    // A file system without RENAME_NOREPLACE: a hard link does not replace either.
    if (::link(partial_.c_str(), path_.c_str()) != 0) {
      if (errno == EEXIST) return Exists(path_);
      return core::FailErrno("cannot create " + path_, errno);
    }
    ::unlink(partial_.c_str());
  }
  partial_.clear();
  return {};
}

}  // namespace ringscale::ctl
