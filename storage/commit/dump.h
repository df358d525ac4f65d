// The database as one stream of bytes, the form it has in a backup. It does not
// depend on LMDB, so that reading a foreign one is parsing and not mapping pages.
//
//   header  "RSDUMP\r\n" · u32 format (1) · u32 schema version · u64 records
//           · u64 bytes of the whole dump
//   record  u8 table · u32 key length · u32 value length · key · value (storage/codec)
//   end     u8 0 · CRC-32C of everything before
//
// Integers are big-endian. Records come in order of table and key.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "storage/store.h"

namespace ringscale::storage {

inline constexpr std::uint32_t kDumpFormat = 1;
inline constexpr std::size_t kDumpHeaderBytes = 32;
// More than any record of ours; a reader that is told more refuses.
inline constexpr std::uint32_t kMaxKeyBytes = 511;  // LMDB's limit
inline constexpr std::uint32_t kMaxValueBytes = 16 << 20;

// Adds up what DumpWriter has to know first.
struct DumpSize {
  std::uint64_t records = 0;
  std::uint64_t bytes = kDumpHeaderBytes + 1 + 4;
  void Add(std::string_view key, std::string_view value) {
    ++records;
    bytes += 1 + 4 + 4 + key.size() + value.size();
  }
};

// Writes a dump in chunks of about 64 KiB; the first chunk starts with the header.
class DumpWriter {
 public:
  DumpWriter(std::uint32_t schema, const DumpSize& size, Store::ChunkSink sink);
  core::Result<> Record(Table table, std::string_view key, std::string_view value);
  // The end mark. kInternal when the records were not those of `size`.
  core::Result<> Finish();

 private:
  core::Result<> Flush();

  Store::ChunkSink sink_;
  std::string chunk_;
  std::uint32_t crc_ = 0;
  DumpSize promised_;
  DumpSize written_;
};

// The size of the dump that starts with `start` (at least kDumpHeaderBytes of
// it), for containers that need the length first. nullopt when it is no dump.
std::optional<std::uint64_t> DumpBytes(std::string_view start);

// Reads a dump that arrives in pieces. Every record is verified as it passes;
// only a successful Finish says that the dump is whole. Errors stick.
class DumpReader {
 public:
  // `schema` is the newest schema version the caller understands. Records of an
  // older one are checked by checksum only: their fields are that version's.
  DumpReader(std::uint32_t schema, Store::Visitor visit);
  core::Result<> Feed(std::string_view bytes);
  [[nodiscard]] core::Result<> Finish() const;
  [[nodiscard]] std::uint32_t schema() const { return dump_schema_; }

 private:
  enum class State : std::uint8_t { kHeader, kRecords, kDone, kFailed };
  core::Result<> Step(std::string_view& in, bool& progress);
  core::Result<> Header(std::string_view head);
  core::Result<> Record(Table table, std::string_view key, std::string_view value);

  State state_ = State::kHeader;
  std::uint32_t known_schema_;
  Store::Visitor visit_;
  std::string pending_;  // the start of something not complete yet
  std::uint32_t crc_ = 0;
  std::uint32_t dump_schema_ = 0;
  DumpSize promised_;
  DumpSize seen_;
  std::uint8_t last_table_ = 0;
  std::string last_key_;
  bool has_meta_ = false;
  core::Result<> error_;
};

}  // namespace ringscale::storage
