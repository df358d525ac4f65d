// A backup: one tar archive with everything a server needs to go on elsewhere.
//
//   MANIFEST        first: "ringscale-backup 1", "version <program>"
//   data/<name>     a file of the data directory: private keys, certificates
//   config/<name>   configuration, restored for people to look at
//   database.dump   the database (storage/commit/dump.h), at most once
//   CHECKSUMS       last: "<CRC-32C, 8 hex digits> <bytes> <name>" for every other
//
// The archive holds private keys: whoever writes it to a file makes it 0600.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "storage/backup/tar.h"
#include "storage/commit/dump.h"
#include "storage/store.h"

namespace ringscale::storage {

inline constexpr std::string_view kManifestName = "MANIFEST";
inline constexpr std::string_view kDatabaseName = "database.dump";
inline constexpr std::string_view kChecksumsName = "CHECKSUMS";
inline constexpr std::string_view kDataPrefix = "data/";
inline constexpr std::string_view kConfigPrefix = "config/";
inline constexpr std::size_t kMaxBackupFiles = 256;
inline constexpr std::uint64_t kMaxBackupFileBytes = 16 << 20;  // all but the database

// Writes a backup. Chunks go to `sink`, whose errors end it.
class BackupWriter {
 public:
  BackupWriter(Store::ChunkSink sink, core::WallTime now);
  // First.
  core::Result<> Begin(std::string_view program_version);
  // `name` starts with kDataPrefix or kConfigPrefix.
  core::Result<> AddFile(std::string_view name, std::string_view content);
  // One chunk of Store::Backup; the first one opens the archive's entry, the
  // last one completes it.
  core::Result<> AddDatabaseChunk(std::string_view chunk);
  core::Result<> Finish();

 private:
  core::Result<> Add(std::string_view name, std::string_view content);

  TarWriter tar_;
  std::string checksums_;
  std::uint64_t database_bytes_ = 0;
  std::uint64_t database_left_ = 0;
  std::uint32_t database_crc_ = 0;
};

// Reads a backup that arrives in pieces, verifying everything as it passes; only
// a successful Finish says that it is whole. Touches no file itself.
class BackupReader {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // A verified name with one of the prefixes. Its content is checked only by Finish.
    virtual core::Result<> OnFile(std::string_view name, std::string_view content) = 0;
    virtual core::Result<> OnRecord(Table table, std::string_view key, std::string_view value) = 0;
  };
  BackupReader(Handler& handler, std::uint32_t known_schema);
  ~BackupReader();
  core::Result<> Feed(std::string_view bytes);
  // Everything was there and intact, the database included.
  [[nodiscard]] core::Result<> Finish() const;
  [[nodiscard]] const std::string& program_version() const { return program_version_; }

 private:
  class Entries;
  struct Sum {
    std::uint32_t crc = 0;
    std::uint64_t bytes = 0;
    auto operator<=>(const Sum&) const = default;
  };
  core::Result<> TakeManifest(std::string_view text);
  core::Result<> TakeChecksums(std::string_view text);

  Handler& handler_;
  std::unique_ptr<Entries> entries_;
  TarReader tar_;
  DumpReader dump_;
  std::map<std::string, Sum, std::less<>> files_;
  std::string program_version_;
  bool has_manifest_ = false;
  bool has_checksums_ = false;
};

}  // namespace ringscale::storage
