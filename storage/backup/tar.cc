#include "storage/backup/tar.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "core/base/bytes.h"

namespace ringscale::storage {
namespace {

// Offsets and lengths of the header's fields.
struct Field {
  std::size_t offset;
  std::size_t length;
};
constexpr Field kName{0, 100};
constexpr Field kMode{100, 8};
constexpr Field kUid{108, 8};
constexpr Field kGid{116, 8};
constexpr Field kSize{124, 12};
constexpr Field kTime{136, 12};
constexpr Field kChecksum{148, 8};
constexpr Field kType{156, 1};
constexpr Field kMagic{257, 8};
constexpr Field kPrefix{345, 155};

constexpr std::string_view kUstar(
    "ustar\0"
    "00",
    8);
constexpr std::string_view kGnu("ustar  \0", 8);  // what GNU tar writes by default

std::unexpected<core::Error> Damaged(std::string_view what) {
  return core::Fail(core::ErrorCode::kCorrupt, "the backup is damaged: " + std::string(what));
}

std::size_t PaddingAfter(std::uint64_t size) {
  return static_cast<std::size_t>((kTarBlock - size % kTarBlock) % kTarBlock);
}

std::string_view Cut(std::string_view block, Field field) {
  return block.substr(field.offset, field.length);
}

std::string_view CutText(std::string_view block, Field field) {
  const std::string_view text = Cut(block, field);
  return text.substr(0, std::min(text.find('\0'), text.size()));
}

// Octal digits, then spaces or zeros.
std::optional<std::uint64_t> CutOctal(std::string_view block, Field field) {
  std::string_view text = Cut(block, field);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  std::uint64_t value = 0;
  std::size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '7') {
    value = value * 8 + static_cast<std::uint64_t>(text[digits] - '0');
    ++digits;
  }
  const std::string_view rest = text.substr(digits);
  const bool clean = std::ranges::all_of(rest, [](char c) { return c == ' ' || c == '\0'; });
  if (digits == 0 || !clean) return std::nullopt;
  return value;
}

// The sum of the header's bytes with the checksum field as spaces.
std::uint64_t HeaderSum(std::string_view block) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < block.size(); ++i) {
    const bool own = i >= kChecksum.offset && i < kChecksum.offset + kChecksum.length;
    sum += own ? ' ' : static_cast<std::uint8_t>(block[i]);
  }
  return sum;
}

using Header = std::array<char, kTarBlock>;

void SetText(Header& header, Field field, std::string_view text) {
  std::ranges::copy(text, header.begin() + static_cast<std::ptrdiff_t>(field.offset));
}

// Zero-padded octal digits that fill the field but for its last byte.
void SetOctal(Header& header, Field field, std::uint64_t value) {
  for (std::size_t i = field.length - 1; i-- > 0; value /= 8) {
    header[field.offset + i] = static_cast<char>('0' + value % 8);
  }
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-';
}

}  // namespace

bool IsSafeArchiveName(std::string_view name) {
  if (name.empty() || name.size() > kMaxTarName) return false;
  for (;;) {
    const auto slash = name.find('/');
    const std::string_view part = name.substr(0, slash);
    if (part.empty() || part == "." || part == ".." ||
        !std::ranges::all_of(part, IsNameCharacter)) {
      return false;
    }
    if (slash == std::string_view::npos) return true;
    name.remove_prefix(slash + 1);
  }
}

TarWriter::TarWriter(Store::ChunkSink sink, core::WallTime modified)
    : sink_(std::move(sink)), modified_(modified) {}

core::Result<> TarWriter::Begin(std::string_view name, std::uint64_t size) {
  if (left_ > 0) return core::Fail(core::ErrorCode::kInternal, "a file in the archive is short");
  if (!IsSafeArchiveName(name)) {
    return core::Fail(core::ErrorCode::kInvalid,
                      "\"" + std::string(name) + "\" cannot be a file's name in a backup");
  }
  if (size > kMaxTarFileBytes) {
    return core::Fail(core::ErrorCode::kLimit, std::string(name) + " is too large for a backup");
  }
  Header header{};
  SetText(header, kName, name);
  SetOctal(header, kMode, 0600);
  SetOctal(header, kUid, 0);
  SetOctal(header, kGid, 0);
  SetOctal(header, kSize, size);
  SetOctal(
      header, kTime,
      static_cast<std::uint64_t>(std::max<std::int64_t>(modified_.unix_ns / 1'000'000'000, 0)));
  SetText(header, kType, "0");
  SetText(header, kMagic, kUstar);
  // Six digits, a zero, a space: the one field with a form of its own.
  SetOctal(header, {kChecksum.offset, 7}, HeaderSum({header.data(), header.size()}));
  header[kChecksum.offset + 7] = ' ';
  left_ = size;
  padding_ = PaddingAfter(size);
  return sink_({header.data(), header.size()});
}

core::Result<> TarWriter::Write(std::string_view bytes) {
  if (bytes.size() > left_) {
    return core::Fail(core::ErrorCode::kInternal, "a file in the archive is long");
  }
  if (!bytes.empty()) {
    if (auto sent = sink_(bytes); !sent) return sent;
  }
  left_ -= bytes.size();
  if (left_ > 0 || padding_ == 0) return {};
  return sink_(std::string(std::exchange(padding_, 0), '\0'));
}

core::Result<> TarWriter::Finish() {
  if (left_ > 0) return core::Fail(core::ErrorCode::kInternal, "a file in the archive is short");
  return sink_(std::string(2 * kTarBlock, '\0'));
}

TarReader::TarReader(Handler& handler) : handler_(handler) {}

core::Result<> TarReader::Feed(std::string_view bytes) {
  if (error_) return std::unexpected(*error_);
  auto result = Consume(bytes);
  if (!result) error_ = result.error();
  return result;
}

core::Result<> TarReader::Consume(std::string_view bytes) {
  while (!bytes.empty()) {
    if (left_ > 0) {
      const std::string_view data =
          bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size())));
      bytes.remove_prefix(data.size());
      left_ -= data.size();
      if (in_file_) {
        if (auto done = handler_.OnData(data); !done) return done;
      }
      if (left_ == 0 && in_file_) {
        in_file_ = false;
        if (auto done = handler_.OnFileEnd(); !done) return done;
      }
      continue;
    }
    if (padding_ > 0) {
      const std::size_t skip = std::min(padding_, bytes.size());
      bytes.remove_prefix(skip);
      padding_ -= skip;
      continue;
    }
    const std::string_view piece = bytes.substr(0, kTarBlock - pending_.size());
    pending_.append(piece);
    bytes.remove_prefix(piece.size());
    if (pending_.size() < kTarBlock) break;
    if (auto done = Block(pending_); !done) return done;
    pending_.clear();
  }
  return {};
}

core::Result<> TarReader::Block(std::string_view block) {
  if (std::ranges::all_of(block, [](char c) { return c == '\0'; })) {
    ++zero_blocks_;
    return {};
  }
  if (zero_blocks_ > 0) return Damaged("something follows its end");
  const std::string_view magic = Cut(block, kMagic);
  if (magic != kUstar && magic != kGnu) {
    return core::Fail(core::ErrorCode::kInvalid, "this is no ringscale backup (no tar archive)");
  }
  if (CutOctal(block, kChecksum) != HeaderSum(block)) {
    return Damaged("a header's checksum does not match");
  }
  const auto size = CutOctal(block, kSize);
  if (!size || *size > kMaxTarFileBytes) return Damaged("a file's length is malformed");
  std::string_view name = CutText(block, kName);
  const char type = Cut(block, kType)[0];
  if (type == '5' && name.ends_with('/')) name.remove_suffix(1);
  if (!CutText(block, kPrefix).empty() || !IsSafeArchiveName(name)) {
    return core::Fail(core::ErrorCode::kInvalid,
                      "the archive holds a file with a name that no backup has");
  }
  left_ = *size;
  padding_ = PaddingAfter(*size);
  if (type == '5') return {};
  if (type != '0' && type != '\0') {
    return core::Fail(core::ErrorCode::kInvalid,
                      "the archive holds " + std::string(name) + ", which is no regular file");
  }
  if (auto done = handler_.OnFile(name, *size); !done) return done;
  in_file_ = true;
  if (left_ > 0) return {};
  in_file_ = false;
  return handler_.OnFileEnd();
}

core::Result<> TarReader::Finish() const {
  if (error_) return std::unexpected(*error_);
  if (zero_blocks_ < 2 || left_ > 0 || !pending_.empty()) return Damaged("it is cut off");
  return {};
}

}  // namespace ringscale::storage
