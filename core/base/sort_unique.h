// A vector as a set: in order, each once.
#pragma once

#include <algorithm>
#include <vector>

namespace ringscale::core {

template <class T>
void SortUnique(std::vector<T>& list) {
  std::ranges::sort(list);
  const auto [first, last] = std::ranges::unique(list);
  list.erase(first, last);
}

}  // namespace ringscale::core
