#include "tools/ctl/table.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace ringscale::ctl {
namespace {

constexpr std::string_view kSeparator = " | ";
constexpr std::string_view kHex = "0123456789abcdef";

struct Decoded {
  char32_t code = 0;
  std::size_t size = 1;
  bool valid = false;
};

Decoded Decode(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1, true};
  std::size_t size = 0;
  char32_t code = 0;
  char32_t smallest = 0;
  if ((first & 0xe0) == 0xc0) {
    size = 2, code = first & 0x1f, smallest = 0x80;
  } else if ((first & 0xf0) == 0xe0) {
    size = 3, code = first & 0x0f, smallest = 0x800;
  } else if ((first & 0xf8) == 0xf0) {
    size = 4, code = first & 0x07, smallest = 0x10000;
  } else {
    return {};
  }
  if (text.size() < size) return {};
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3f);
  }
  if (code < smallest || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return {};
  return {code, size, true};
}

// Controls (C0, DEL, C1) and the marks that reorder text.
bool IsUnsafe(char32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x061c ||
         (code >= 0x200e && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

std::size_t CodeWidth(char32_t code) {
  const auto in = [code](char32_t low, char32_t high) { return code >= low && code <= high; };
  if (in(0x0300, 0x036f) || in(0x200b, 0x200d) || in(0xfe00, 0xfe0f)) return 0;
  if (in(0x1100, 0x115f) || in(0x2e80, 0xa4cf) || in(0xac00, 0xd7a3) || in(0xf900, 0xfaff) ||
      in(0xfe30, 0xfe6f) || in(0xff00, 0xff60) || in(0xffe0, 0xffe6) || in(0x1f300, 0x1faff) ||
      in(0x20000, 0x3fffd)) {
    return 2;
  }
  return 1;
}

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  for (;;) {
    const std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return lines;
    text.remove_prefix(end + 1);
  }
}

std::string_view ColourCode(Colour colour) {
  switch (colour) {
    case Colour::kGreen:
      return "\x1b[32m";
    case Colour::kRed:
      return "\x1b[31m";
    case Colour::kNone:
      break;
  }
  return "";
}

}  // namespace

std::string Printable(std::string_view text, bool keep_newlines) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Decoded decoded = Decode(text);
    const std::string_view piece = text.substr(0, decoded.size);
    const bool newline = keep_newlines && piece == "\n";
    if (decoded.valid && (newline || !IsUnsafe(decoded.code))) {
      out += piece;
    } else {
      for (const char c : piece) {
        out += "\\x";
        out += kHex[static_cast<unsigned char>(c) >> 4];
        out += kHex[static_cast<unsigned char>(c) & 0x0f];
      }
    }
    text.remove_prefix(piece.size());
  }
  return out;
}

std::size_t DisplayWidth(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const Decoded decoded = Decode(text);
    width += decoded.valid ? CodeWidth(decoded.code) : 1;
    text.remove_prefix(decoded.size);
  }
  return width;
}

std::string Table::Render(bool colours) const {
  std::vector<std::vector<Cell>> rows;
  rows.reserve(rows_.size() + 1);
  rows.emplace_back(header_.begin(), header_.end());
  for (const auto& row : rows_) {
    std::vector<Cell> safe;
    safe.reserve(row.size());
    for (const Cell& cell : row) safe.emplace_back(Printable(cell.text, true), cell.colour);
    rows.push_back(std::move(safe));
  }

  std::vector<std::size_t> widths(header_.size(), 0);
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < std::min(row.size(), widths.size()); ++i) {
      for (const std::string_view line : Lines(row[i].text)) {
        widths[i] = std::max(widths[i], DisplayWidth(line));
      }
    }
  }

  std::string out;
  for (const auto& row : rows) {
    std::vector<std::vector<std::string_view>> cells;
    std::size_t height = 1;
    for (const Cell& cell : row) {
      cells.push_back(Lines(cell.text));
      height = std::max(height, cells.back().size());
    }
    for (std::size_t line = 0; line < height; ++line) {
      std::string text;
      for (std::size_t i = 0; i < widths.size(); ++i) {
        if (i > 0) text += kSeparator;
        std::string_view piece;
        if (i < cells.size() && line < cells[i].size()) piece = cells[i][line];
        const bool coloured = colours && !piece.empty() && row[i].colour != Colour::kNone;
        if (coloured) text += ColourCode(row[i].colour);
        text += piece;
        if (coloured) text += "\x1b[0m";
        text.append(widths[i] - DisplayWidth(piece), ' ');
      }
      text.erase(text.find_last_not_of(' ') + 1);
      out += text + "\n";
    }
  }
  return out;
}

}  // namespace ringscale::ctl
