// What servers under load answer to ringscale-bench: map streams, pages of counters,
// and reports that it is given again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "bench/lib/map_messages.h"
#include "bench/lib/relay_drops.h"
#include "bench/lib/relay_report.h"
#include "core/base/bytes.h"
#include "tests/fuzz/accepted.h"
#include "tests/fuzz/require.h"

namespace {

using ringscale::fuzz::Require;

using namespace ringscale;

// The same messages, whatever the pieces.
void ReadStream(std::string_view bytes, std::size_t piece) {
  constexpr std::size_t kLongest = 1 << 20;
  std::string whole;
  std::string cut;
  const auto wanted = [](std::size_t size) { return size <= kLongest; };
  const auto into = [](std::string& out) {
    return [&out](std::size_t size, std::string_view message) {
      Require(message.empty() || message.size() == size);
      out.append(std::to_string(size)).append(":").append(message);
    };
  };
  bench::MapMessageReader first;
  first.Feed(bytes, wanted, into(whole));
  bench::MapMessageReader second;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    second.Feed(bytes.substr(0, piece), wanted, into(cut));
  }
  Require(whole == cut);
  if (!whole.empty()) fuzz::Accepted();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view text = core::AsText({data + 1, size - 1});
  switch (data[0] % 4) {
    case 0:
      ReadStream(text, text.size() % 7 + 1);
      break;
    case 1:
      if (bench::DecompressMessage(text)) fuzz::Accepted();
      break;
    case 2:
      if (!bench::ParseDrops(text).empty()) fuzz::Accepted();
      break;
    default:
      if (const auto report = bench::ReadReport(text)) {
        const std::string json = bench::ToJson(*report);
        const auto again = bench::ReadReport(json);
        Require(again.has_value() && bench::ToJson(*again) == json);
        fuzz::Accepted();
      }
  }
  return 0;
}
