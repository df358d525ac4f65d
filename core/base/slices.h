// Pieces of shared immutable memory, for output that many receivers share.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringscale::core {

// A view into memory kept alive by `owner`. Cheap to copy; the memory never
// changes after it was shared. One thread only (owner's count is shared, its
// use is not).
struct SharedSlice {
  std::shared_ptr<const std::string> owner;
  std::string_view bytes;

  static SharedSlice Own(std::string text) {
    auto owner = std::make_shared<const std::string>(std::move(text));
    std::string_view view = *owner;
    return {std::move(owner), view};
  }
};

using SliceList = std::vector<SharedSlice>;

}  // namespace ringscale::core
