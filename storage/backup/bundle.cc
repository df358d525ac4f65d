#include "storage/backup/bundle.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <set>
#include <utility>

#include "core/base/bytes.h"
#include "storage/codec/checksum.h"

namespace ringscale::storage {
namespace {

constexpr std::string_view kFirstLine = "ringscale-backup 1";
constexpr std::size_t kMaxVersionBytes = 64;

std::unexpected<core::Error> Damaged(std::string_view what) {
  return core::Fail(core::ErrorCode::kCorrupt, "the backup is damaged: " + std::string(what));
}

std::string ChecksumLine(std::uint32_t crc, std::uint64_t bytes, std::string_view name) {
  char text[16];
  std::snprintf(text, sizeof(text), "%08x", crc);
  return std::string(text) + " " + std::to_string(bytes) + " " + std::string(name) + "\n";
}

// Removes one line, without its end. nullopt when there is no complete one.
std::optional<std::string_view> TakeLine(std::string_view& text) {
  const auto end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

template <class T>
bool ParseNumber(std::string_view text, int base, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

bool HasContentPrefix(std::string_view name) {
  return name.starts_with(kDataPrefix) || name.starts_with(kConfigPrefix);
}

}  // namespace

BackupWriter::BackupWriter(Store::ChunkSink sink, core::WallTime now)
    : tar_(std::move(sink), now) {}

core::Result<> BackupWriter::Begin(std::string_view program_version) {
  return Add(kManifestName, std::string(kFirstLine) + "\nversion " +
                                std::string(program_version.substr(0, kMaxVersionBytes)) + "\n");
}

core::Result<> BackupWriter::Add(std::string_view name, std::string_view content) {
  if (database_left_ > 0) {
    return core::Fail(core::ErrorCode::kInternal, "the database in the backup is short");
  }
  if (auto begun = tar_.Begin(name, content.size()); !begun) return begun;
  checksums_ += ChecksumLine(Crc32c(core::AsBytes(content)), content.size(), name);
  return tar_.Write(content);
}

core::Result<> BackupWriter::AddFile(std::string_view name, std::string_view content) {
  if (!HasContentPrefix(name)) {
    return core::Fail(core::ErrorCode::kInvalid, "a backup has no place for " + std::string(name));
  }
  if (content.size() > kMaxBackupFileBytes) {
    return core::Fail(core::ErrorCode::kLimit, std::string(name) + " is too large for a backup");
  }
  return Add(name, content);
}

core::Result<> BackupWriter::AddDatabaseChunk(std::string_view chunk) {
  if (database_left_ == 0) {
    const auto bytes = DumpBytes(chunk);
    if (!bytes || database_bytes_ > 0) {
      return core::Fail(core::ErrorCode::kInternal, "not the start of a database");
    }
    if (auto begun = tar_.Begin(kDatabaseName, *bytes); !begun) return begun;
    database_bytes_ = database_left_ = *bytes;
  }
  if (auto written = tar_.Write(chunk); !written) return written;
  database_crc_ = Crc32c(core::AsBytes(chunk), database_crc_);
  database_left_ -= chunk.size();
  if (database_left_ == 0) {
    checksums_ += ChecksumLine(database_crc_, database_bytes_, kDatabaseName);
  }
  return {};
}

core::Result<> BackupWriter::Finish() {
  const std::string checksums = std::exchange(checksums_, {});
  if (auto added = Add(kChecksumsName, checksums); !added) return added;
  return tar_.Finish();
}

// What the archive's entries mean.
class BackupReader::Entries final : public TarReader::Handler {
 public:
  explicit Entries(BackupReader& reader) : reader_(reader) {}

  core::Result<> OnFile(std::string_view name, std::uint64_t size) override {
    const bool manifest = name == kManifestName;
    if (manifest != reader_.files_.empty()) return Damaged("its first file is no manifest");
    if (reader_.has_checksums_) return Damaged("a file follows its checksums");
    database_ = name == kDatabaseName;
    if (!manifest && !database_ && name != kChecksumsName && !HasContentPrefix(name)) {
      return core::Fail(core::ErrorCode::kInvalid,
                        "the archive holds a file that no backup has: " + std::string(name));
    }
    if (!database_ && size > kMaxBackupFileBytes) {
      return core::Fail(core::ErrorCode::kLimit, std::string(name) + " is too large");
    }
    if (reader_.files_.size() >= kMaxBackupFiles) {
      return core::Fail(core::ErrorCode::kLimit, "the backup holds too many files");
    }
    if (reader_.files_.contains(name)) return Damaged("a file is there twice");
    name_ = name;
    content_.clear();
    sum_ = {0, size};
    return {};
  }

  core::Result<> OnData(std::string_view bytes) override {
    sum_.crc = Crc32c(core::AsBytes(bytes), sum_.crc);
    if (database_) return reader_.dump_.Feed(bytes);
    content_.append(bytes);
    return {};
  }

  core::Result<> OnFileEnd() override {
    if (name_ == kChecksumsName) return reader_.TakeChecksums(content_);
    reader_.files_.emplace(name_, sum_);
    if (name_ == kManifestName) return reader_.TakeManifest(content_);
    if (database_) return reader_.dump_.Finish();
    return reader_.handler_.OnFile(name_, content_);
  }

 private:
  BackupReader& reader_;
  std::string name_;
  std::string content_;
  Sum sum_;
  bool database_ = false;
};

BackupReader::BackupReader(Handler& handler, std::uint32_t known_schema)
    : handler_(handler),
      entries_(std::make_unique<Entries>(*this)),
      tar_(*entries_),
      dump_(known_schema, [this](Table table, std::string_view key, std::string_view value) {
        return handler_.OnRecord(table, key, value);
      }) {}

BackupReader::~BackupReader() = default;

core::Result<> BackupReader::Feed(std::string_view bytes) {
  return tar_.Feed(bytes);
}

core::Result<> BackupReader::TakeManifest(std::string_view text) {
  const auto first = TakeLine(text);
  if (first != kFirstLine) {
    return core::Fail(core::ErrorCode::kUnsupported,
                      "this ringscale does not know the backup's format: restore with the version "
                      "that wrote it, or a newer one");
  }
  const auto version = TakeLine(text);
  constexpr std::string_view kVersion = "version ";
  if (!version || !version->starts_with(kVersion) ||
      version->size() > kVersion.size() + kMaxVersionBytes) {
    return Damaged("its manifest is malformed");
  }
  program_version_ = version->substr(kVersion.size());
  has_manifest_ = true;
  return {};
}

core::Result<> BackupReader::TakeChecksums(std::string_view text) {
  std::set<std::string> named;
  while (!text.empty()) {
    const auto line = TakeLine(text);
    const auto first = line ? line->find(' ') : std::string_view::npos;
    const auto second = first == std::string_view::npos ? first : line->find(' ', first + 1);
    Sum sum;
    if (second == std::string_view::npos || !ParseNumber(line->substr(0, first), 16, sum.crc) ||
        !ParseNumber(line->substr(first + 1, second - first - 1), 10, sum.bytes)) {
      return Damaged("its list of checksums is malformed");
    }
    const std::string_view name = line->substr(second + 1);
    const auto file = files_.find(name);
    if (file == files_.end()) return Damaged(std::string(name) + " is missing");
    if (file->second != sum) return Damaged("the checksum of " + file->first + " does not match");
    named.insert(file->first);
  }
  if (named.size() != files_.size()) return Damaged("a file has no checksum");
  has_checksums_ = true;
  return {};
}

core::Result<> BackupReader::Finish() const {
  if (auto whole = tar_.Finish(); !whole) return whole;
  if (!has_manifest_ || !has_checksums_) return Damaged("it is cut off");
  if (auto whole = dump_.Finish(); !whole) return whole;
  return {};
}

}  // namespace ringscale::storage
