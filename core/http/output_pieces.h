// Output that consists of small framing bytes and large shared slices, in order,
// gathered without copying the slices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/slices.h"

namespace ringscale::core::http {

// Meant to be kept and reused: Clear() keeps the memory.
class OutputPieces {
 public:
  void AddBytes(std::string_view bytes) {
    if (pieces_.empty() || pieces_.back().slice != kInline) {
      pieces_.push_back({kInline, inline_.size(), 0});
    }
    inline_ += bytes;
    pieces_.back().size += bytes.size();
    size_ += bytes.size();
  }
  void AddSlice(SharedSlice slice) {
    size_ += slice.bytes.size();
    pieces_.push_back({slices_.size(), 0, slice.bytes.size()});
    slices_.push_back(std::move(slice));
  }

  // A list for slices on their way to AddSlice; empty between uses.
  [[nodiscard]] SliceList& spare() { return spare_; }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

  // Valid until the next change.
  [[nodiscard]] std::span<const std::string_view> Views() {
    views_.clear();
    for (const Piece& piece : pieces_) {
      views_.push_back(piece.slice == kInline
                           ? std::string_view(inline_).substr(piece.offset, piece.size)
                           : slices_[piece.slice].bytes);
    }
    return views_;
  }

  void Clear() {
    inline_.clear();
    slices_.clear();
    pieces_.clear();
    views_.clear();
    size_ = 0;
  }

 private:
  static constexpr std::size_t kInline = SIZE_MAX;
  struct Piece {
    std::size_t slice;   // index into slices_, or kInline
    std::size_t offset;  // into inline_
    std::size_t size;
  };
  std::string inline_;
  SliceList slices_;
  std::vector<Piece> pieces_;
  std::vector<std::string_view> views_;
  SliceList spare_;
  std::size_t size_ = 0;
};

}  // namespace ringscale::core::http
