// Bodies that wait and get a small message now and then: sent past the protocol engine.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "tests/core/http/h2_support.h"

namespace ringscale::core::http {
namespace {

using testing::H2;
using testing::H2Client;
using testing::Source;

constexpr std::uint32_t kWidestWindow = 0x7fffffff;

class H2Quiet : public H2 {
 protected:
  // A stream whose head is sent and whose body waits.
  std::int32_t Open() {
    AnswerStream();
    const auto stream = client.Request("POST", "/machine/map", "{}");
    Exchange();
    return stream;
  }
  void Tell(std::string message) {
    shared.slices.push_back(SharedSlice::Own(std::move(message)));
    shared.waker->Wake();
  }
  void TakeAndFeed() { EXPECT_TRUE(client.Feed(Take())); }
};

TEST_F(H2Quiet, OnePullAMessage) {
  const auto stream = Open();
  for (int i = 0; i < 10; ++i) {
    shared.pulls = 0;
    Tell("message" + std::to_string(i));
    TakeAndFeed();
    EXPECT_EQ(shared.pulls, 1) << "the engine would ask again";
  }
  EXPECT_EQ(client.answers[stream].body,
            "message0message1message2message3message4message5message6message7message8message9");
}

// Any mistake in counting shows: the client refuses what exceeds a window, and the body
// stops early when the server believes in a smaller one.
TEST_F(H2Quiet, EveryByteArrivesWithinTheWindows) {
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    std::minstd_rand random(seed);
    const auto upto = [&](std::size_t limit) { return random() % limit + 1; };
    testing::Handler own_handler;
    H2Server own_server(own_handler);
    H2Client own_client;  // 64 KiB for each stream and for the connection
    constexpr std::size_t kStreams = 3;
    std::vector<Source::Shared> sources(kStreams);
    std::vector<std::int32_t> ids;
    ids.reserve(kStreams);
    std::vector<std::string> expected(kStreams);
    std::size_t opened = 0;
    own_handler.on_request = [&](const H2Request& request) {
      if (request.path != "/map") {
        EXPECT_TRUE(own_server.Respond(request.stream, {200, {}, std::string(upto(3000), 'r')}));
        return;
      }
      Source::Shared& source = sources[opened++];
      EXPECT_TRUE(own_server.RespondStream(request.stream, 200, {}, [&](BodyWaker& waker) {
        source.waker = &waker;
        return std::make_unique<Source>(source);
      }));
    };
    const auto down = [&](std::size_t max) {
      OutputPieces pieces;
      EXPECT_TRUE(own_server.TakeOutput(max, pieces));
      std::string out;
      for (const std::string_view piece : pieces.Views()) out += piece;
      EXPECT_TRUE(own_client.Feed(out));
      return !out.empty();
    };
    const auto up = [&] {
      const std::string out = own_client.TakeOutput();
      EXPECT_TRUE(out.empty() || own_server.Feed(AsBytes(out)));
      return !out.empty();
    };
    for (std::size_t i = 0; i < kStreams; ++i)
      ids.push_back(own_client.Request("POST", "/map", "{}"));
    up();
    down(SIZE_MAX);
    ASSERT_EQ(opened, kStreams);
    for (int step = 0; step < 400; ++step) {
      const std::size_t which = random() % kStreams;
      switch (random() % 8) {
        case 0:
          up();
          break;
        case 1:
          down(upto(5000));
          break;
        case 2:
          own_client.Ping();
          break;
        case 3:
          own_client.Request("POST", "/other", "{}");
          break;
        default: {
          const std::string message(upto(random() % 16 == 0 ? 40'000 : 900),
                                    static_cast<char>('a' + step % 26));
          expected[which] += message;
          sources[which].slices.push_back(SharedSlice::Own(message));
          sources[which].waker->Wake();
          if (random() % 2 == 0) down(SIZE_MAX);
          break;
        }
      }
    }
    for (bool busy = true; busy;) {
      busy = down(SIZE_MAX);
      busy = up() || busy;
    }
    EXPECT_FALSE(own_client.goaway) << "seed " << seed;
    for (std::size_t i = 0; i < kStreams; ++i) {
      const auto& answer = own_client.answers[ids[i]];
      EXPECT_FALSE(answer.closed) << "seed " << seed;
      EXPECT_EQ(answer.body.size(), expected[i].size()) << "seed " << seed;
      EXPECT_TRUE(answer.body == expected[i]) << "seed " << seed;
    }
    for (Source::Shared& source : sources) {
      source.ended = true;
      source.waker->Wake();
    }
    while (down(SIZE_MAX) || up()) {
    }
    for (const std::int32_t id : ids) EXPECT_TRUE(own_client.answers[id].ended) << "seed " << seed;
  }
}

// Were the engine not told of what was sent past it, its windows would grow beyond the
// largest there is when the peer gives back what it has taken.
TEST_F(H2Quiet, TheWidestWindowsStayExact) {
  H2Client wide(kWidestWindow);
  wide.GiveBack(0, kWidestWindow - 65535);
  AnswerStream();
  const auto stream = wide.Request("POST", "/machine/map", "{}");
  const auto talk = [&] {
    for (int i = 0; i < 4; ++i) {
      const std::string up = wide.TakeOutput();
      ASSERT_TRUE(up.empty() || server.Feed(AsBytes(up)));
      ASSERT_TRUE(wide.Feed(Take()));
    }
  };
  talk();
  for (int i = 0; i < 20; ++i) {
    Tell(std::string(1000, 'x'));
    ASSERT_TRUE(wide.Feed(Take()));
    wide.GiveBack(stream, 1000);
    wide.GiveBack(0, 1000);
    talk();
  }
  EXPECT_FALSE(wide.goaway);
  EXPECT_FALSE(wide.answers[stream].closed);
  EXPECT_EQ(wide.answers[stream].body.size(), 20'000u);
}

TEST_F(H2Quiet, AMessageLargerThanTheWindowContinuesWhenThereIsRoom) {
  const auto stream = Open();
  Tell(std::string(70'000, 'x'));
  const std::string down = Take();
  EXPECT_LT(down.size(), 66'000u);
  EXPECT_TRUE(client.Feed(down));
  Exchange();
  EXPECT_EQ(client.answers[stream].body.size(), 70'000u);
}

TEST_F(H2Quiet, ASourceMayAnswerAnotherRequestWhileItIsPulled) {
  const auto stream = Open();
  std::int32_t other = 0;
  handler.on_request = [&](const H2Request& request) { other = request.stream; };
  const auto asked = client.Request("POST", "/machine/register", "{}");
  Exchange();
  ASSERT_EQ(other, asked);
  // Together more than the connection's window: both count what the other sends.
  const std::string message(50'000, 'm');
  const std::string answer(50'000, 'a');
  shared.on_pull = [&] {
    if (other == 0) return;
    EXPECT_TRUE(server.Respond(std::exchange(other, 0), {200, {}, answer}));
  };
  Tell(message);
  Exchange();
  EXPECT_FALSE(client.goaway);
  EXPECT_TRUE(client.answers[stream].body == message);
  EXPECT_TRUE(client.answers[asked].body == answer);
  EXPECT_TRUE(client.answers[asked].ended);
}

TEST_F(H2Quiet, AStreamThatIsAwakeWhenThePeerResetsIt) {
  const auto stream = Open();
  Tell("never taken");
  client.Reset(stream);
  ASSERT_TRUE(server.Feed(AsBytes(client.TakeOutput())));
  EXPECT_TRUE(shared.destroyed);
  TakeAndFeed();
  EXPECT_EQ(client.answers[stream].body, "");
}

TEST_F(H2Quiet, AStreamThatIsResetWhileItOwes) {
  const auto stream = Open();
  Tell("message");
  TakeAndFeed();
  Tell("never taken");
  server.Reset(stream);
  Exchange();
  EXPECT_TRUE(client.answers[stream].closed);
  EXPECT_EQ(client.answers[stream].body, "message");
  EXPECT_TRUE(shared.destroyed);
  shared.slices.clear();
  const auto next = Open();
  Tell("again");
  Exchange();
  EXPECT_EQ(client.answers[next].body, "again");
}

TEST_F(H2Quiet, GoAwayAndTheEndOfTheBodyAfterMessages) {
  const auto stream = Open();
  Tell("last words");
  TakeAndFeed();
  server.GoAway();
  Exchange();
  EXPECT_TRUE(client.goaway);
  EXPECT_FALSE(server.finished());
  shared.ended = true;
  Tell(", really");
  Exchange();
  EXPECT_EQ(client.answers[stream].body, "last words, really");
  EXPECT_TRUE(client.answers[stream].ended);
  EXPECT_TRUE(server.finished());
}

}  // namespace
}  // namespace ringscale::core::http
