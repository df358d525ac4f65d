#include "control/policy/error.h"

namespace ringscale::control::policy {

std::string PolicyError::text() const {
  std::string out;
  if (at.line > 0) {
    out = "line " + std::to_string(at.line) + ", column " + std::to_string(at.column) + ": ";
  }
  out += message;
  for (const auto& line : details) out += "\n" + line;
  return out;
}

std::string Quoted(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace ringscale::control::policy
