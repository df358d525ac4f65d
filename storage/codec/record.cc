#include "storage/codec/record.h"

#include <algorithm>
#include <utility>

#include "storage/codec/checksum.h"

namespace ringscale::storage {
namespace {

constexpr std::size_t kHeader = 2;
constexpr std::size_t kTrailer = 4;

// Small numbers of either sign become small unsigned ones.
std::uint64_t ZigZag(std::int64_t v) {
  return static_cast<std::uint64_t>(v) << 1 ^ static_cast<std::uint64_t>(v >> 63);
}
std::int64_t UnZigZag(std::uint64_t v) {
  return static_cast<std::int64_t>(v >> 1 ^ (0 - (v & 1)));
}

}  // namespace

std::string_view TableName(Table table) {
  switch (table) {
    case Table::kMeta:
      return "meta";
    case Table::kUsers:
      return "users";
    case Table::kNodes:
      return "nodes";
    case Table::kPreAuthKeys:
      return "pre_auth_keys";
    case Table::kApiKeys:
      return "api_keys";
    case Table::kPolicies:
      return "policies";
  }
  return {};
}

void AppendVarint(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

std::optional<std::uint64_t> TakeVarint(std::string_view& in) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < in.size() && i < 10; ++i) {
    const auto byte = static_cast<std::uint8_t>(in[i]);
    if (i == 9 && byte > 1) return std::nullopt;  // more than 64 bits
    value |= static_cast<std::uint64_t>(byte & 0x7F) << (7 * i);
    if (byte < 0x80) {
      if (byte == 0 && i > 0) return std::nullopt;
      in.remove_prefix(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

RecordWriter::RecordWriter(Table table) {
  out_.push_back(static_cast<char>(kRecordFormat));
  out_.push_back(static_cast<char>(table));
}

void RecordWriter::Number(std::uint32_t field, std::uint64_t value) {
  AppendVarint(out_, std::uint64_t{field} << 1);
  AppendVarint(out_, value);
}

void RecordWriter::U64(std::uint32_t field, std::uint64_t value) {
  if (value != 0) Number(field, value);
}

void RecordWriter::Time(std::uint32_t field, core::WallTime value) {
  if (value.unix_ns != 0) Number(field, ZigZag(value.unix_ns));
}

void RecordWriter::OptionalTime(std::uint32_t field, const std::optional<core::WallTime>& value) {
  if (value) Number(field, ZigZag(value->unix_ns));
}

void RecordWriter::Text(std::uint32_t field, std::string_view value) {
  if (value.empty()) return;
  AppendVarint(out_, std::uint64_t{field} << 1 | 1);
  AppendVarint(out_, value.size());
  out_.append(value);
}

void RecordWriter::Key(std::uint32_t field, core::Bytes value) {
  if (std::ranges::any_of(value, [](std::uint8_t b) { return b != 0; })) {
    Text(field, core::AsText(value));
  }
}

std::string RecordWriter::Finish() && {
  std::uint8_t crc[kTrailer];
  core::StoreBe32(crc, Crc32c(core::AsBytes(out_)));
  out_.append(core::AsText(crc));
  return std::move(out_);
}

RecordReader::RecordReader(Table table, std::string_view record) : table_(table) {
  CheckFrame(record);
}

void RecordReader::CheckFrame(std::string_view record) {
  if (record.size() < kHeader + kTrailer) return Corrupt("it is cut off");
  const std::string_view body = record.substr(0, record.size() - kTrailer);
  const std::uint32_t stored = core::LoadBe32(core::AsBytes(record).data() + body.size());
  if (Crc32c(core::AsBytes(body)) != stored) return Corrupt("its checksum does not match");
  if (static_cast<std::uint8_t>(body[0]) != kRecordFormat) {
    error_ = core::Error{core::ErrorCode::kUnsupported,
                         "a record of table " + std::string(TableName(table_)) + " has format " +
                             std::to_string(static_cast<std::uint8_t>(body[0])) +
                             ", this ringscale reads format " + std::to_string(kRecordFormat) +
                             ": use the version that wrote it"};
    return;
  }
  if (static_cast<std::uint8_t>(body[1]) != static_cast<std::uint8_t>(table_)) {
    return Corrupt("it belongs to another table");
  }
  rest_ = body.substr(kHeader);
}

bool RecordReader::TakeVarint(std::uint64_t& value) {
  const auto taken = storage::TakeVarint(rest_);
  if (!taken) {
    Corrupt("a number in it is malformed");
    return false;
  }
  value = *taken;
  return true;
}

bool RecordReader::Next() {
  if (error_ || rest_.empty()) return false;
  std::uint64_t tag = 0;
  if (!TakeVarint(tag)) return false;
  const std::uint64_t number = tag >> 1;
  if (number <= field_ || number > UINT32_MAX) {
    Corrupt("its fields are out of order");
    return false;
  }
  field_ = static_cast<std::uint32_t>(number);
  is_bytes_ = (tag & 1) != 0;
  if (!TakeVarint(number_)) return false;
  bytes_ = {};
  if (is_bytes_) {
    if (number_ > rest_.size()) {
      Corrupt("a field is longer than the record");
      return false;
    }
    bytes_ = rest_.substr(0, static_cast<std::size_t>(number_));
    rest_.remove_prefix(bytes_.size());
  }
  return true;
}

std::uint64_t RecordReader::Number() {
  if (is_bytes_) {
    Corrupt("a field has the wrong kind");
    return 0;
  }
  return number_;
}

void RecordReader::U64(std::uint64_t& value) {
  value = Number();
  if (value == 0) Corrupt("a field is out of range");
}

void RecordReader::U32(std::uint32_t& value) {
  const std::uint64_t number = Number();
  if (number == 0 || number > UINT32_MAX) return Corrupt("a field is out of range");
  value = static_cast<std::uint32_t>(number);
}

void RecordReader::Bool(bool& value) {
  if (Number() != 1) return Corrupt("a field is out of range");
  value = true;
}

void RecordReader::Time(core::WallTime& value) {
  value.unix_ns = UnZigZag(Number());
  if (value.unix_ns == 0) Corrupt("a field is out of range");
}

void RecordReader::OptionalTime(std::optional<core::WallTime>& value) {
  value = core::WallTime{UnZigZag(Number())};
}

std::string_view RecordReader::View() {
  if (!is_bytes_) {
    Corrupt("a field has the wrong kind");
    return {};
  }
  if (bytes_.empty()) Corrupt("a field is empty");
  return bytes_;
}

void RecordReader::Text(std::string& value) {
  value = View();
}

void RecordReader::Key(core::MutableBytes value) {
  const std::string_view bytes = View();
  if (bytes.size() != value.size()) return Corrupt("a key has the wrong length");
  std::ranges::copy(core::AsBytes(bytes), value.begin());
  if (std::ranges::all_of(value, [](std::uint8_t b) { return b == 0; })) {
    Corrupt("a field is out of range");
  }
}

void RecordReader::Unknown() {
  if (field_ >= kFirstIgnorable || error_) return;
  error_ = core::Error{core::ErrorCode::kUnsupported,
                       "a record of table " + std::string(TableName(table_)) + " has field " +
                           std::to_string(field_) +
                           ", which this ringscale does not know: use the version that wrote it"};
}

void RecordReader::Corrupt(std::string_view what) {
  if (error_) return;
  error_ =
      core::Error{core::ErrorCode::kCorrupt, "a record of table " + std::string(TableName(table_)) +
                                                 " is damaged: " + std::string(what)};
}

core::Result<> RecordReader::Finish() const {
  if (error_) return std::unexpected(*error_);
  return {};
}

}  // namespace ringscale::storage
