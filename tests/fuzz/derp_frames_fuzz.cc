// FrameReader of all three sides against a plain reference: the same bytes in
// random pieces give the same frames.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "relay/wire/frame_reader.h"
#include "tests/fuzz/accepted.h"

namespace {

using namespace ringscale;

struct Seen {
  std::uint8_t type;
  std::uint64_t at;  // in the stream
  std::size_t size;
  bool operator==(const Seen&) const = default;
};

// Straight from the definition.
template <class Side>
std::vector<Seen> Reference(core::Bytes bytes, bool& bad) {
  std::vector<Seen> frames;
  std::uint64_t at = 0;
  bad = false;
  while (bytes.size() - at >= relay::kHeaderBytes) {
    const std::uint8_t type = bytes[at];
    const std::uint32_t length = core::LoadBe32(bytes.data() + at + 1);
    const auto limits = Side::Limits(static_cast<relay::FrameType>(type));
    if (limits.known && (length < limits.min || length > limits.max)) {
      bad = true;
      break;
    }
    const std::uint64_t end = at + relay::kHeaderBytes + length;
    if (end > bytes.size()) break;
    if (limits.known) frames.push_back({type, at, static_cast<std::size_t>(end - at)});
    at = end;
  }
  return frames;
}

template <class Side>
void Check(core::Bytes bytes, core::Bytes cuts) {
  bool expect_bad = false;
  const std::vector<Seen> expected = Reference<Side>(bytes, expect_bad);
  std::vector<Seen> got;
  relay::FrameReader<Side> reader;
  std::vector<std::uint8_t> held;
  std::uint64_t base = 0;  // of held in the stream
  std::size_t at = 0;
  std::size_t cut = 0;
  bool bad = false;
  while (at < bytes.size() && !bad) {
    const std::size_t want = cuts.empty() ? bytes.size() : 1 + cuts[cut++ % cuts.size()];
    const std::size_t size = std::min(want, bytes.size() - at);
    held.insert(held.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at),
                bytes.begin() + static_cast<std::ptrdiff_t>(at + size));
    at += size;
    for (;;) {
      const auto step = reader.Next(held);
      if (step.consumed > held.size()) std::abort();
      using Status = typename relay::FrameReader<Side>::Status;
      if (step.status == Status::kFrame) {
        const auto offset = static_cast<std::uint64_t>(step.frame.frame.data() - held.data());
        got.push_back({held[offset], base + offset, step.frame.frame.size()});
      }
      held.erase(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(step.consumed));
      base += step.consumed;
      if (step.status == Status::kBadLength) {
        bad = true;
        break;
      }
      if (step.status == Status::kNeedMore) {
        if (step.needed <= held.size()) std::abort();
        break;
      }
    }
  }
  if (got != expected || bad != expect_bad) std::abort();
  if (!got.empty()) ringscale::fuzz::Accepted();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::size_t cuts = std::min<std::size_t>(data[0] & 0x0f, size - 1);
  const core::Bytes pattern(data + 1, cuts);
  const core::Bytes bytes(data + 1 + cuts, size - 1 - cuts);
  Check<relay::ServerSide>(bytes, pattern);
  Check<relay::LoginSide>(bytes, pattern);
  Check<relay::ClientSide>(bytes, pattern);
  return 0;
}
