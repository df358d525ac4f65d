// The frame of every stored record:
//
//   format version (1 byte) · table (1 byte) · fields · CRC-32C of all before (4 bytes, BE)
//   field = varint(number << 1 | kind) · kind 0: varint · kind 1: varint length, bytes
//
// Fields come in ascending order, each at most once; a field with its default
// value is left out. So every row has exactly one encoding.
//
// Evolution. A field with a number below kFirstIgnorable that this program does
// not know is refused: the record means more than it could say. A newer program
// gives a number from kFirstIgnorable on only to a field whose loss harms nothing:
// an older program skips it, and drops it when it writes that record again.
// Anything else is a new schema version (storage/commit/migrations.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "storage/store.h"

namespace ringscale::storage {

inline constexpr std::uint8_t kRecordFormat = 1;
inline constexpr std::uint32_t kFirstIgnorable = 1024;

// The table's name in messages and in the database: "nodes". Empty for a number
// that is no table.
std::string_view TableName(Table table);
// Every table, in the order of their numbers.
inline constexpr Table kAllTables[] = {Table::kMeta,        Table::kUsers,   Table::kNodes,
                                       Table::kPreAuthKeys, Table::kApiKeys, Table::kPolicies};

// Appends fields; numbers must ascend.
class RecordWriter {
 public:
  explicit RecordWriter(Table table);
  void U64(std::uint32_t field, std::uint64_t value);  // left out when 0
  void Bool(std::uint32_t field, bool value) { U64(field, value ? 1 : 0); }
  void Time(std::uint32_t field, core::WallTime value);  // left out when 0
  void OptionalTime(std::uint32_t field, const std::optional<core::WallTime>& value);
  void Text(std::uint32_t field, std::string_view value);  // left out when empty
  // Left out when all bytes are zero.
  void Key(std::uint32_t field, core::Bytes value);
  [[nodiscard]] std::string Finish() &&;

 private:
  void Number(std::uint32_t field, std::uint64_t value);

  std::string out_;
};

// Reads the fields of one record. Errors stick: once something is wrong, Next
// returns false and Finish gives the error. Views point into the record.
class RecordReader {
 public:
  // Checks version, table and checksum.
  RecordReader(Table table, std::string_view record);

  // Advances to the next field, false at the end or after an error.
  bool Next();
  [[nodiscard]] std::uint32_t field() const { return field_; }

  // The current field's value. A value that could not have been written (the
  // default, out of range, wrong kind) is an error.
  void U64(std::uint64_t& value);
  void U32(std::uint32_t& value);
  void Bool(bool& value);
  void Time(core::WallTime& value);
  void OptionalTime(std::optional<core::WallTime>& value);
  void Text(std::string& value);
  void Key(core::MutableBytes value);
  std::string_view View();
  // Applies the rule above to a field the caller does not know.
  void Unknown();

  void Corrupt(std::string_view what);
  [[nodiscard]] core::Result<> Finish() const;

 private:
  void CheckFrame(std::string_view record);
  bool TakeVarint(std::uint64_t& value);
  std::uint64_t Number();

  Table table_;
  std::string_view rest_;
  std::uint32_t field_ = 0;
  bool is_bytes_ = false;
  std::uint64_t number_ = 0;
  std::string_view bytes_;
  std::optional<core::Error> error_;
};

// Base-128, least significant group first, shortest form only.
void AppendVarint(std::string& out, std::uint64_t value);
// Removes one varint from the front; nullopt when cut off, too long or not the
// shortest form.
std::optional<std::uint64_t> TakeVarint(std::string_view& in);

}  // namespace ringscale::storage
