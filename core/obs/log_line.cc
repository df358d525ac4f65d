#include "core/obs/log_line.h"

#include <cstddef>
#include <cstdint>

namespace ringscale::core::internal {
namespace {

constexpr std::size_t kMaxValueBytes = 4096;
constexpr char kHexDigits[] = "0123456789abcdef";

// Length of the well-formed UTF-8 sequence at the start of `text` (RFC 3629), 0
// when there is none. C1 control characters count as malformed.
std::size_t Utf8Length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const auto follows = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xc0) == 0x80; };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) {
    const bool c1 = lead == 0xc2 && follows(1) && byte(1) < 0xa0;
    return follows(1) && !c1 ? 2 : 0;
  }
  if (lead >= 0xe0 && lead <= 0xef) {
    if (!follows(1) || !follows(2)) return 0;
    if (lead == 0xe0 && byte(1) < 0xa0) return 0;
    if (lead == 0xed && byte(1) > 0x9f) return 0;
    return 3;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    if (lead == 0xf0 && byte(1) < 0x90) return 0;
    if (lead == 0xf4 && byte(1) > 0x8f) return 0;
    return 4;
  }
  return 0;
}

// Escapes for a quoted string. `json` decides how a malformed byte is written:
// JSON has no escape for a byte, so there it becomes U+FFFD.
void AppendEscaped(std::string& out, std::string_view text, bool json, bool quoted) {
  bool cut = false;
  if (text.size() > kMaxValueBytes) {
    text = text.substr(0, kMaxValueBytes);
    cut = true;
  }
  while (!text.empty()) {
    const char c = text[0];
    const auto byte = static_cast<std::uint8_t>(c);
    std::size_t used = 1;
    if (quoted && (c == '"' || c == '\\')) {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += json ? "\\u00" : "\\x";
      out += kHexDigits[byte >> 4];
      out += kHexDigits[byte & 15];
    } else if (const std::size_t length = Utf8Length(text); length > 0) {
      out.append(text.substr(0, length));
      used = length;
    } else if (json) {
      out += "\xef\xbf\xbd";
    } else {
      out += "\\x";
      out += kHexDigits[byte >> 4];
      out += kHexDigits[byte & 15];
    }
    text.remove_prefix(used);
  }
  if (cut) out += "...";
}

void AppendQuoted(std::string& out, std::string_view text, bool json) {
  out += '"';
  AppendEscaped(out, text, json, true);
  out += '"';
}

bool NeedsQuotes(std::string_view value) {
  if (value.empty()) return true;
  for (const char c : value) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte <= 0x20 || byte == 0x7f || byte >= 0x80 || c == '"' || c == '\\' || c == '=') {
      return true;
    }
  }
  return false;
}

// Milliseconds are enough to read and sort by.
std::string Timestamp(WallTime time) {
  const std::int64_t millis = time.unix_ns / 1'000'000;
  std::string out = FormatRfc3339({millis / 1000 * 1'000'000'000});
  out.pop_back();
  const auto fraction = std::to_string(1000 + millis % 1000);
  return out + "." + fraction.substr(1) + "Z";
}

std::string FormatText(WallTime time, LogLevel level, std::string_view component,
                       std::string_view message, std::initializer_list<LogField> fields) {
  std::string out = Timestamp(time);
  out += ' ';
  out += LogLevelName(level);
  out.append(6 - LogLevelName(level).size(), ' ');
  out += component;
  out += ": ";
  AppendEscaped(out, message, false, false);
  for (const LogField& field : fields) {
    out += ' ';
    out += field.key;
    out += '=';
    if (NeedsQuotes(field.value)) {
      AppendQuoted(out, field.value, false);
    } else {
      AppendEscaped(out, field.value, false, false);
    }
  }
  out += '\n';
  return out;
}

std::string FormatJson(WallTime time, LogLevel level, std::string_view component,
                       std::string_view message, std::initializer_list<LogField> fields) {
  std::string out = R"({"time":")";
  out += Timestamp(time);
  out += R"(","level":")";
  out += LogLevelName(level);
  out += R"(","component":)";
  AppendQuoted(out, component, true);
  out += R"(,"message":)";
  AppendQuoted(out, message, true);
  for (const LogField& field : fields) {
    out += ',';
    AppendQuoted(out, field.key, true);
    out += ':';
    if (field.number) {
      out += field.value;
    } else {
      AppendQuoted(out, field.value, true);
    }
  }
  out += "}\n";
  return out;
}

}  // namespace

std::string_view LogLevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return "trace";
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
  }
  return "unknown";
}

std::string FormatLogLine(LogFormat format, WallTime time, LogLevel level,
                          std::string_view component, std::string_view message,
                          std::initializer_list<LogField> fields) {
  return format == LogFormat::kJson ? FormatJson(time, level, component, message, fields)
                                    : FormatText(time, level, component, message, fields);
}

}  // namespace ringscale::core::internal
