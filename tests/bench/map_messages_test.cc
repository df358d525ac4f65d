// The client's side of a map stream, as the load generator reads it.
#include "bench/lib/map_messages.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "control/map/encoder.h"
#include "core/base/bytes.h"

namespace ringscale::bench {
namespace {

std::string Framed(const std::string& message) {
  std::string out(4, '\0');
  core::StoreLe32(reinterpret_cast<std::uint8_t*>(out.data()),
                  static_cast<std::uint32_t>(message.size()));
  return out + message;
}

using Told = std::vector<std::pair<std::size_t, std::string>>;

Told Read(const std::string& stream, std::size_t piece, std::size_t largest) {
  MapMessageReader reader;
  Told told;
  for (std::size_t at = 0; at < stream.size(); at += piece) {
    reader.Feed(
        std::string_view(stream).substr(at, piece),
        [&](std::size_t size) { return size <= largest; },
        [&](std::size_t size, std::string_view message) { told.emplace_back(size, message); });
  }
  return told;
}

TEST(MapMessageReader, CutsAtAnySplit) {
  const std::string stream =
      Framed("one") + Framed("") + Framed(std::string(300, 'x')) + Framed("z");
  const Told all = {{3, "one"}, {0, ""}, {300, std::string(300, 'x')}, {1, "z"}};
  const Told small = {{3, "one"}, {0, ""}, {300, ""}, {1, "z"}};
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    EXPECT_EQ(Read(stream, piece, 1000), all) << piece;
    EXPECT_EQ(Read(stream, piece, 100), small) << "only sizes of what is not wanted, " << piece;
  }
}

TEST(MapMessageReader, AnIncompleteMessageIsNotTold) {
  const std::string stream = Framed("one") + Framed("three");
  for (std::size_t end = 7; end < stream.size(); ++end) {
    EXPECT_EQ(Read(stream.substr(0, end), 3, 100), (Told{{3, "one"}})) << end;
  }
}

TEST(DecompressMessage, SeveralFramesInARow) {
  control::Encoder encoder;
  std::string message;
  encoder.Append(control::Encoding::kZstd, "{\"Peers\":[", message);
  encoder.Append(control::Encoding::kZstd, std::string(200'000, '1'), message);
  encoder.Append(control::Encoding::kZstd, "]}", message);
  const auto text = DecompressMessage(message);
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(*text, "{\"Peers\":[" + std::string(200'000, '1') + "]}");
}

TEST(DecompressMessage, DamageIsAnError) {
  control::Encoder encoder;
  std::string message;
  encoder.Append(control::Encoding::kZstd, std::string(1000, '1'), message);
  EXPECT_FALSE(DecompressMessage(message.substr(0, message.size() - 1)));
  EXPECT_FALSE(DecompressMessage("no zstd frame"));
  EXPECT_FALSE(DecompressMessage(""));
}

}  // namespace
}  // namespace ringscale::bench
