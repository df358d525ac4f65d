#include "core/base/slices.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/base/slice_arena.h"

namespace ringscale::core {
namespace {

TEST(SliceArena, SlicesShareABlockAndStay) {
  SliceArena arena;
  std::vector<SharedSlice> slices;
  for (int i = 0; i < 5000; ++i) {
    const std::string text = "text " + std::to_string(i);
    arena.Room(text.size()) += text;
    slices.push_back(arena.Take());
  }
  EXPECT_EQ(slices[0].owner, slices[1].owner);
  EXPECT_NE(slices.front().owner, slices.back().owner);
  for (int i = 0; i < 5000; ++i) EXPECT_EQ(slices[i].bytes, "text " + std::to_string(i));
}

TEST(SliceArena, UsesItsBlockAgainWhenNobodyHasASliceOfIt) {
  SliceArena arena;
  arena.Room(5) += "first";
  SharedSlice slice = arena.Take();
  const char* const memory = slice.bytes.data();
  arena.Room(6) += "second";
  EXPECT_EQ(arena.Take().bytes.data(), memory + 5) << "the first is still held";
  slice = {};
  arena.Room(5) += "third";
  slice = arena.Take();
  EXPECT_EQ(slice.bytes.data(), memory);
  EXPECT_EQ(slice.bytes, "third");
}

TEST(SliceArena, OutlivedByItsSlices) {
  SharedSlice slice;
  {
    SliceArena arena;
    arena.Room(SliceArena::kBlock).append(SliceArena::kBlock, 'x');
    slice = arena.Take();
  }
  EXPECT_EQ(slice.bytes, std::string(SliceArena::kBlock, 'x'));
}

}  // namespace
}  // namespace ringscale::core
