// POSIX ustar archives (IEEE 1003.1, pax utility, "ustar Interchange Format"),
// as much as backups need: regular files with short names, so that anybody can
// look into a backup with tar.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/base/time.h"
#include "storage/store.h"

namespace ringscale::storage {

inline constexpr std::size_t kTarBlock = 512;
inline constexpr std::size_t kMaxTarName = 100;
inline constexpr std::uint64_t kMaxTarFileBytes = (std::uint64_t{8} << 30) - 1;  // 11 octal digits

// A name that is safe below any directory: parts of letters, digits, '.', '_',
// '-' joined by single '/', no part "." or "..", not empty, at most kMaxTarName.
bool IsSafeArchiveName(std::string_view name);

class TarWriter {
 public:
  TarWriter(Store::ChunkSink sink, core::WallTime modified);
  // Begin, then exactly `size` bytes by Write, then the next Begin or Finish.
  // kInvalid for names that are not safe, kLimit for what is too large.
  core::Result<> Begin(std::string_view name, std::uint64_t size);
  core::Result<> Write(std::string_view bytes);
  core::Result<> Finish();

 private:
  Store::ChunkSink sink_;
  core::WallTime modified_;
  std::uint64_t left_ = 0;
  std::size_t padding_ = 0;
};

// Reads an archive that arrives in pieces. Directories are skipped; links,
// devices, extended headers and unsafe names are refused. Errors stick.
class TarReader {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual core::Result<> OnFile(std::string_view name, std::uint64_t size) = 0;
    virtual core::Result<> OnData(std::string_view bytes) = 0;
    virtual core::Result<> OnFileEnd() = 0;
  };
  explicit TarReader(Handler& handler);
  core::Result<> Feed(std::string_view bytes);
  // Success only after the two zero blocks at the end.
  [[nodiscard]] core::Result<> Finish() const;

 private:
  core::Result<> Block(std::string_view block);
  core::Result<> Consume(std::string_view bytes);

  Handler& handler_;
  std::string pending_;
  std::uint64_t left_ = 0;   // data of the current file
  std::size_t padding_ = 0;  // after it
  bool in_file_ = false;
  int zero_blocks_ = 0;
  std::optional<core::Error> error_;
};

}  // namespace ringscale::storage
