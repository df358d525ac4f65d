// Tables for people: aligned columns separated by " | ", cells of several lines.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringscale::ctl {

enum class Colour : std::uint8_t { kNone, kGreen, kRed };

struct Cell {
  std::string text;  // may hold newlines
  Colour colour = Colour::kNone;

  Cell(std::string t, Colour c = Colour::kNone) : text(std::move(t)), colour(c) {}
  Cell(const char* t) : text(t) {}
};

class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  void Add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] std::string Render(bool colours) const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<Cell>> rows_;
};

// `text` with everything that could move the cursor or change colours shown as
// \xNN: names come from strangers' machines. Newlines are kept if asked.
[[nodiscard]] std::string Printable(std::string_view text, bool keep_newlines = false);

// How many columns a terminal needs for UTF-8 `text`.
[[nodiscard]] std::size_t DisplayWidth(std::string_view text);

}  // namespace ringscale::ctl
