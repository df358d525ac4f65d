// Many operations at once: queues that are too short for them, and who gets how much.
#include <cerrno>
#include <map>
#include <set>

#include "tests/core/io/ring_support.h"

namespace ringscale::core::io {
namespace {

template <class Ring>
class RingLoad : public RingTest<Ring> {};
TYPED_TEST_SUITE(RingLoad, Rings);

TYPED_TEST(RingLoad, ManyConnectionsInterleave) {
  constexpr std::size_t kPairs = 200;
  constexpr int kRounds = 5;
  std::vector<SocketPair> pairs;
  std::vector<std::string> got(kPairs);
  for (std::size_t i = 0; i < kPairs; ++i) {
    pairs.push_back(MakePair());
    this->ring().ReceiveMultishot(pairs[i].near.get(),
                                  Token(kReceive, static_cast<std::uint32_t>(i), 1));
  }
  std::string expected;
  for (int round = 0; round < kRounds; ++round) {
    const std::string text = "round " + std::to_string(round) + ";";
    expected += text;
    for (const SocketPair& pair : pairs) WriteAll(pair.far.get(), text);
    std::size_t missing = kPairs * text.size();
    while (missing > 0) {
      const Completion completion = this->Next();
      if (completion.result == -ENOBUFS) {
        this->ring().ReceiveMultishot(pairs[completion.token.slot()].near.get(), completion.token);
        continue;
      }
      ASSERT_GT(completion.result, 0);
      missing -= static_cast<std::size_t>(completion.result);
      got[completion.token.slot()] += this->Take(completion);
      if (!completion.more) {
        this->ring().ReceiveMultishot(pairs[completion.token.slot()].near.get(), completion.token);
      }
    }
  }
  for (const std::string& bytes : got) EXPECT_EQ(bytes, expected);
}

TYPED_TEST(RingLoad, StartingMoreThanTheSubmissionQueueHoldsWorks) {
  std::vector<SocketPair> pairs;
  const std::string bytes = "x";
  const iovec vec = Vec(bytes);
  for (std::uint32_t i = 0; i < 300; ++i) {
    pairs.push_back(MakePair());
    this->ring().Send(pairs.back().near.get(), &vec, 1, Token(kSend, i, 1));
  }
  std::set<std::uint32_t> done;
  while (done.size() < pairs.size()) {
    const Completion completion = this->Next();
    EXPECT_EQ(completion.result, 1);
    EXPECT_TRUE(done.insert(completion.token.slot()).second);
  }
}

TYPED_TEST(RingLoad, MoreCompletionsThanPlacesStayForTheNextTurn) {
  std::vector<SocketPair> pairs;
  const std::string bytes = "x";
  const iovec vec = Vec(bytes);
  for (std::uint32_t i = 0; i < 60; ++i) {
    pairs.push_back(MakePair());
    this->ring().Send(pairs.back().near.get(), &vec, 1, Token(kSend, i, 1));
  }
  std::size_t done = 0;
  while (done < pairs.size()) {
    std::array<Completion, 16> out;
    // The long wait would end the test's patience if anything were forgotten.
    const std::size_t count = this->ring().Turn(out, Seconds(30));
    ASSERT_GT(count, 0u);
    done += count;
  }
  EXPECT_EQ(done, pairs.size());
}

TYPED_TEST(RingLoad, OverflowingTheCompletionQueueLosesNothing) {
  RingOptions options;
  options.submission_entries = 64;
  options.completion_entries = 64;
  options.buffer_count = 8;
  options.buffer_size = 1024;
  this->Open(options);
  std::vector<SocketPair> pairs;
  for (std::uint32_t i = 0; i < 500; ++i) {
    pairs.push_back(MakePair());
    this->ring().ReceiveOnce(pairs.back().near.get(), Token(kReceive, i, 1));
  }
  EXPECT_TRUE(this->Settle().empty());
  for (SocketPair& pair : pairs) pair.far.Reset();
  std::set<std::uint32_t> ended;
  while (ended.size() < pairs.size()) {
    const Completion completion = this->Next();
    EXPECT_EQ(completion.result, 0);
    EXPECT_TRUE(ended.insert(completion.token.slot()).second);
  }
}

TEST(Epoll, BoundsWhatOneConnectionGetsPerTurn) {
  RingOptions options;
  options.buffer_count = 64;
  options.buffer_size = 256;
  auto ring = EpollRing::Create(options);
  ASSERT_TRUE(ring.has_value());
  SocketPair loud = MakePair();
  SocketPair quiet = MakePair();
  (*ring)->ReceiveMultishot(loud.near.get(), Token(kReceive, 1, 1));
  (*ring)->ReceiveMultishot(quiet.near.get(), Token(kReceive, 2, 1));
  WriteAll(loud.far.get(), Pattern(64 * 256));
  WriteAll(quiet.far.get(), "psst");
  std::array<Completion, 64> out;
  const std::size_t count = (*ring)->Turn(out, Seconds(10));
  std::map<std::uint32_t, int> per_slot;
  for (std::size_t i = 0; i < count; ++i) ++per_slot[out[i].token.slot()];
  EXPECT_EQ(per_slot[1], 4);
  EXPECT_EQ(per_slot[2], 1);
}

}  // namespace
}  // namespace ringscale::core::io
