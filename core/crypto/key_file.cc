#include "core/crypto/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "core/base/fd.h"
#include "core/base/hex.h"
#include "core/base/random.h"
#include "core/crypto/secret_text.h"

namespace ringscale::core {

namespace {

constexpr std::size_t kMaxFileSize = 64 * 1024;

std::string DirectoryOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<> WriteAll(const Fd& fd, const std::string& path, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd.get(), content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FailErrno("cannot write " + path, errno);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(fd.get()) != 0) return FailErrno("cannot sync " + path, errno);
  return {};
}

Result<> SyncDirectory(const std::string& directory) {
  const Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0) {
    return FailErrno("cannot sync directory " + directory, errno);
  }
  return {};
}

// 0 or an errno value.
int Rename(const std::string& from, const std::string& to, Replace replace) {
  if (replace == Replace::kYes) return ::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
  // A hard link never overwrites; file systems without links have the rename flag.
  if (::link(from.c_str(), to.c_str()) == 0) {
    ::unlink(from.c_str());
    return 0;
  }
  if (errno == EEXIST) return EEXIST;
  const bool renamed =
      ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0;
  return renamed ? 0 : errno;
}

}  // namespace

namespace {

Result<> CheckMode(const std::string& path, unsigned mode, Readers readers) {
  const unsigned forbidden = readers == Readers::kOwner ? 0077 : 0037;
  if ((mode & forbidden) == 0) return {};
  std::array<char, 8> text;
  std::snprintf(text.data(), text.size(), "%04o", mode & 07777U);
  return Fail(ErrorCode::kPermission,
              path + ": a private key that others can access (mode " + text.data() +
                  "); run chmod 600 on it, and replace the key if somebody may have read it");
}

Result<std::string> ReadContent(const Fd& fd, const std::string& path, std::size_t limit) {
  std::string content;
  std::array<char, 4096> chunk;
  Result<> outcome;
  while (outcome) {
    const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      outcome = FailErrno("cannot read " + path, errno);
    } else if (content.size() + static_cast<std::size_t>(got) > limit) {
      outcome = Fail(ErrorCode::kInvalid, path + ": too big");
    } else {
      content.append(chunk.data(), static_cast<std::size_t>(got));
    }
  }
  Wipe(MutableBytes(reinterpret_cast<std::uint8_t*>(chunk.data()), chunk.size()));
  if (!outcome) {
    Wipe(content);
    return Forward(outcome);
  }
  return content;
}

Result<std::string> ReadFile(const std::string& path, std::size_t limit, const Readers* readers) {
  // O_NONBLOCK: a pipe in the file's place must not hang the start.
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) {
    if (errno == ENOENT) return Fail(ErrorCode::kNotFound, path + ": no such file");
    return FailErrno("cannot open " + path, errno);
  }
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return FailErrno("cannot stat " + path, errno);
  if (!S_ISREG(info.st_mode)) return Fail(ErrorCode::kInvalid, path + ": not a regular file");
  if (readers != nullptr) {
    Result<> mode = CheckMode(path, info.st_mode, *readers);
    if (!mode) return Forward(mode);
  }
  return ReadContent(fd, path, limit);
}

}  // namespace

Result<std::string> ReadPrivateFile(const std::string& path, Readers readers) {
  return ReadFile(path, kMaxFileSize, &readers);
}

Result<std::string> ReadPublicFile(const std::string& path, std::size_t limit) {
  return ReadFile(path, limit, nullptr);
}

Result<> WriteFileAtomically(const std::string& path, std::string_view content, Replace replace,
                             unsigned mode) {
  std::array<std::uint8_t, 8> suffix;
  SecureRandom(suffix);
  const std::string temporary = path + ".new-" + HexEncode(suffix);
  const Fd fd(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd.valid()) return FailErrno("cannot create " + temporary, errno);
  // The umask may have taken bits away from a file that others should read.
  Result<> outcome = ::fchmod(fd.get(), mode) == 0
                         ? WriteAll(fd, temporary, content)
                         : Result<>(FailErrno("cannot set the mode of " + temporary, errno));
  if (outcome) {
    const int error = Rename(temporary, path, replace);
    if (error == 0) return SyncDirectory(DirectoryOf(path));
    outcome = error == EEXIST ? Result<>(Fail(ErrorCode::kExists, path + " exists already"))
                              : Result<>(FailErrno("cannot rename to " + path, error));
  }
  ::unlink(temporary.c_str());
  return outcome;
}

Result<PrivateKey> LoadPrivateKey(const std::string& path) {
  Result<std::string> content = ReadPrivateFile(path);
  if (!content) return Forward(content);
  std::string_view text = *content;
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.remove_suffix(1);
  }
  std::optional<PrivateKey> key = PrivateKey::Parse(text);
  Wipe(*content);
  if (!key) {
    return Fail(ErrorCode::kCorrupt,
                path + ": not a private key (expected \"privkey:\" and 64 hex digits)");
  }
  return std::move(*key);
}

Result<PrivateKey> LoadOrCreatePrivateKey(const std::string& path) {
  Result<PrivateKey> existing = LoadPrivateKey(path);
  if (existing || existing.error().code != ErrorCode::kNotFound) return existing;
  PrivateKey key = PrivateKey::Generate();
  std::string text = key.TextForKeyFile() + "\n";
  const Result<> written = WriteFileAtomically(path, text, Replace::kNo);
  Wipe(text);
  if (written) return key;
  // Another process created it in between: its key counts.
  if (written.error().code == ErrorCode::kExists) return LoadPrivateKey(path);
  return std::unexpected(written.error());
}

}  // namespace ringscale::core
