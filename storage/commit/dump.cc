#include "storage/commit/dump.h"

#include <utility>

#include "core/base/bytes.h"
#include "storage/codec/checksum.h"
#include "storage/codec/record.h"
#include "storage/codec/rows.h"

namespace ringscale::storage {
namespace {

constexpr std::string_view kMagic = "RSDUMP\r\n";
constexpr std::size_t kChunk = 64 << 10;
constexpr std::size_t kRecordHeader = 9;

void Append32(std::string& out, std::uint32_t value) {
  std::uint8_t bytes[4];
  core::StoreBe32(bytes, value);
  out.append(core::AsText(bytes));
}

void Append64(std::string& out, std::uint64_t value) {
  std::uint8_t bytes[8];
  core::StoreBe64(bytes, value);
  out.append(core::AsText(bytes));
}

std::unexpected<core::Error> Damaged(std::string_view what) {
  return core::Fail(core::ErrorCode::kCorrupt,
                    "the database in the backup is damaged: " + std::string(what));
}

}  // namespace

DumpWriter::DumpWriter(std::uint32_t schema, const DumpSize& size, Store::ChunkSink sink)
    : sink_(std::move(sink)), promised_(size) {
  chunk_.append(kMagic);
  Append32(chunk_, kDumpFormat);
  Append32(chunk_, schema);
  Append64(chunk_, size.records);
  Append64(chunk_, size.bytes);
}

core::Result<> DumpWriter::Record(Table table, std::string_view key, std::string_view value) {
  written_.Add(key, value);
  chunk_.push_back(static_cast<char>(table));
  Append32(chunk_, static_cast<std::uint32_t>(key.size()));
  Append32(chunk_, static_cast<std::uint32_t>(value.size()));
  chunk_.append(key);
  chunk_.append(value);
  if (chunk_.size() < kChunk) return {};
  return Flush();
}

core::Result<> DumpWriter::Flush() {
  crc_ = Crc32c(core::AsBytes(chunk_), crc_);
  auto result = sink_(chunk_);
  chunk_.clear();
  return result;
}

core::Result<> DumpWriter::Finish() {
  if (written_.bytes != promised_.bytes || written_.records != promised_.records) {
    return core::Fail(core::ErrorCode::kInternal, "the dump's size changed while it was written");
  }
  chunk_.push_back('\0');
  crc_ = Crc32c(core::AsBytes(chunk_), crc_);
  Append32(chunk_, crc_);
  return sink_(chunk_);
}

std::optional<std::uint64_t> DumpBytes(std::string_view start) {
  if (start.size() < kDumpHeaderBytes || !start.starts_with(kMagic)) return std::nullopt;
  return core::LoadBe64(core::AsBytes(start).data() + 24);
}

DumpReader::DumpReader(std::uint32_t schema, Store::Visitor visit)
    : known_schema_(schema), visit_(std::move(visit)) {
  error_ = Damaged("it is cut off");
}

core::Result<> DumpReader::Feed(std::string_view bytes) {
  if (state_ == State::kFailed) return error_;
  const bool joined = !pending_.empty();
  if (joined) pending_.append(bytes);
  std::string_view in = joined ? std::string_view(pending_) : bytes;
  bool progress = true;
  while (progress) {
    auto result = Step(in, progress);
    if (!result) {
      state_ = State::kFailed;
      error_ = result;
      return result;
    }
  }
  if (joined) {
    pending_.erase(0, pending_.size() - in.size());
  } else {
    pending_ = in;
  }
  return {};
}

core::Result<> DumpReader::Step(std::string_view& in, bool& progress) {
  progress = false;
  const auto* p = core::AsBytes(in).data();
  std::size_t taken = 0;
  switch (state_) {
    case State::kHeader:
      if (in.size() < kDumpHeaderBytes) return {};
      if (auto result = Header(in.substr(0, kDumpHeaderBytes)); !result) return result;
      state_ = State::kRecords;
      taken = kDumpHeaderBytes;
      break;
    case State::kRecords: {
      if (in.empty()) return {};
      if (p[0] == 0) {
        if (in.size() < 5) return {};
        if (Crc32c({p, 1}, crc_) != core::LoadBe32(p + 1)) {
          return Damaged("its checksum does not match");
        }
        if (seen_.records != promised_.records || seen_.bytes != promised_.bytes) {
          return Damaged("records are missing");
        }
        if (!has_meta_) return Damaged("it has no meta record");
        state_ = State::kDone;
        in.remove_prefix(5);
        progress = true;
        return {};
      }
      if (in.size() < kRecordHeader) return {};
      const std::uint32_t key = core::LoadBe32(p + 1);
      const std::uint32_t value = core::LoadBe32(p + 5);
      if (key == 0 || key > kMaxKeyBytes || value > kMaxValueBytes) {
        return Damaged("a record's length is impossible");
      }
      taken = kRecordHeader + key + value;
      if (in.size() < taken) return {};
      if (auto result = Record(static_cast<Table>(p[0]), in.substr(kRecordHeader, key),
                               in.substr(kRecordHeader + key, value));
          !result) {
        return result;
      }
      break;
    }
    case State::kDone:
      if (in.empty()) return {};
      return Damaged("something follows its end");
    case State::kFailed:
      return error_;
  }
  crc_ = Crc32c({p, taken}, crc_);
  in.remove_prefix(taken);
  progress = true;
  return {};
}

core::Result<> DumpReader::Header(std::string_view head) {
  const auto* p = core::AsBytes(head).data();
  if (!head.starts_with(kMagic)) return Damaged("it does not start like one");
  const std::uint32_t format = core::LoadBe32(p + 8);
  dump_schema_ = core::LoadBe32(p + 12);
  if (format != kDumpFormat) {
    return core::Fail(core::ErrorCode::kUnsupported,
                      "the backup's database has format " + std::to_string(format) +
                          ", this ringscale reads " + std::to_string(kDumpFormat) +
                          ": restore with the version that wrote it, or a newer one");
  }
  if (dump_schema_ == 0 || dump_schema_ > known_schema_) {
    return core::Fail(core::ErrorCode::kUnsupported,
                      "the backup has schema version " + std::to_string(dump_schema_) +
                          ", this ringscale knows up to " + std::to_string(known_schema_) +
                          ": restore with the version that wrote it, or a newer one");
  }
  promised_.records = core::LoadBe64(p + 16);
  promised_.bytes = core::LoadBe64(p + 24);
  return {};
}

core::Result<> DumpReader::Record(Table table, std::string_view key, std::string_view value) {
  seen_.Add(key, value);
  if (TableName(table).empty()) return Damaged("a record belongs to no table");
  const auto number = static_cast<std::uint8_t>(table);
  if (number < last_table_ || (number == last_table_ && key <= last_key_)) {
    return Damaged("its records are out of order");
  }
  last_table_ = number;
  last_key_ = key;
  auto sound =
      dump_schema_ == known_schema_ ? VerifyRecord(table, key, value) : VerifyFrame(table, value);
  if (!sound) return sound;
  if (table == Table::kMeta && key == kMetaKey) {
    const auto schema = PeekSchemaVersion(value);
    if (!schema || *schema != dump_schema_) return Damaged("its schema versions differ");
    has_meta_ = true;
  }
  return visit_(table, key, value);
}

core::Result<> DumpReader::Finish() const {
  if (state_ == State::kDone) return {};
  return error_;
}

}  // namespace ringscale::storage
