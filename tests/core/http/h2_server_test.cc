#include "core/http/h2_server.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/core/http/h2_support.h"

namespace ringscale::core::http {
namespace {

using testing::H2;
using testing::H2Answer;
using testing::H2Client;
using testing::Handler;

TEST_F(H2, AnswersARequest) {
  handler.on_request = [this](const H2Request& request) {
    EXPECT_TRUE(
        server.Respond(request.stream, {200, {{"content-type", "application/json"}}, "{\"a\":1}"}));
    EXPECT_FALSE(server.Respond(request.stream, {500, {}, {}}));
  };
  const auto stream = client.Request("POST", "/machine/register?x=1", "hello");
  Exchange();
  ASSERT_EQ(handler.requests.size(), 1u);
  EXPECT_EQ(handler.requests[0].method, "POST");
  EXPECT_EQ(handler.requests[0].path, "/machine/register");
  EXPECT_EQ(handler.requests[0].query, "x=1");
  EXPECT_EQ(handler.requests[0].authority, "control.example:443");
  EXPECT_EQ(handler.requests[0].body, "hello");
  const H2Answer& answer = client.answers[stream];
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "{\"a\":1}");
  EXPECT_EQ(answer.headers.at("content-type"), "application/json");
  EXPECT_EQ(answer.headers.at("content-length"), "7");
  EXPECT_TRUE(answer.closed);
  EXPECT_EQ(answer.error, 0u);
  EXPECT_EQ(handler.closed, std::vector<std::int32_t>{stream});
  EXPECT_EQ(server.open_streams(), 0u);
  EXPECT_TRUE(server.established());
  EXPECT_FALSE(server.finished());
}

TEST_F(H2, TakesARequestByteByByte) {
  const auto stream = client.Request("GET", "/machine/tka/init/begin", "body of a GET");
  for (const char c : client.TakeOutput()) {
    ASSERT_TRUE(server.Feed(AsBytes(std::string_view(&c, 1))));
  }
  ASSERT_EQ(handler.requests.size(), 1u);
  EXPECT_EQ(handler.requests[0].stream, stream);
  EXPECT_EQ(handler.requests[0].body, "body of a GET");
}

TEST_F(H2, AnswersLaterAndEmptyAndToHead) {
  const auto later = client.Request("POST", "/later", "x");
  const auto head = client.Request("HEAD", "/machine/ping-response");
  Exchange();
  ASSERT_EQ(handler.requests.size(), 2u);
  EXPECT_TRUE(server.Respond(head, {200, {}, "not sent"}));
  EXPECT_TRUE(server.Respond(later, {204, {}, {}}));
  Exchange();
  EXPECT_EQ(client.answers[later].status, 204);
  EXPECT_TRUE(client.answers[later].ended);
  EXPECT_EQ(client.answers[head].body, "");
  EXPECT_TRUE(client.answers[head].ended);
}

TEST_F(H2, StreamsWithoutCopying) {
  AnswerStream();
  auto slice = SharedSlice::Own(std::string(10'000, 'x'));
  shared.slices.push_back(slice);
  client.Request("POST", "/machine/map", "{}");
  ASSERT_TRUE(server.Feed(AsBytes(client.TakeOutput())));
  OutputPieces pieces;
  ASSERT_TRUE(server.TakeOutput(SIZE_MAX, pieces));
  bool same_memory = false;
  for (const std::string_view piece : pieces.Views()) {
    same_memory |= piece.data() == slice.bytes.data() && piece.size() == 10'000;
  }
  EXPECT_TRUE(same_memory);
}

TEST_F(H2, WaitsForTheWaker) {
  AnswerStream();
  const auto stream = client.Request("POST", "/machine/map", "{}");
  Exchange();
  EXPECT_EQ(client.answers[stream].status, 200);
  EXPECT_FALSE(client.answers[stream].ended);
  for (int i = 0; i < 3; ++i) {
    shared.slices.push_back(SharedSlice::Own("message" + std::to_string(i)));
    handler.ready = 0;
    shared.waker->Wake();
    shared.waker->Wake();
    EXPECT_EQ(handler.ready, 1);
    Exchange();
  }
  EXPECT_EQ(client.answers[stream].body, "message0message1message2");
  shared.ended = true;
  shared.waker->Wake();
  Exchange();
  EXPECT_TRUE(client.answers[stream].ended);
  EXPECT_TRUE(shared.destroyed);
  EXPECT_FALSE(shared.aborted);
}

TEST_F(H2, AWakeBeforeThePullIsNotLost) {
  AnswerStream();
  const auto stream = client.Request("POST", "/machine/map", "{}");
  ASSERT_TRUE(server.Feed(AsBytes(client.TakeOutput())));
  shared.waker->Wake();
  Exchange();
  shared.slices.push_back(SharedSlice::Own("late"));
  shared.waker->Wake();
  Exchange();
  EXPECT_EQ(client.answers[stream].body, "late");
}

TEST_F(H2, ObeysTheLimitOfTheOutput) {
  AnswerStream();
  H2Client wide(1 << 20);
  shared.slices.push_back(SharedSlice::Own(std::string(1 << 16, 'x')));
  wide.Request("POST", "/machine/map", "{}");
  ASSERT_TRUE(server.Feed(AsBytes(wide.TakeOutput())));
  std::size_t total = 0;
  int pieces = 0;
  for (std::string out = Take(20'000); !out.empty(); out = Take(20'000)) {
    EXPECT_LE(out.size(), 20'000u + 16384 + 9);
    total += out.size();
    ++pieces;
  }
  EXPECT_GE(total, std::size_t{65535});
  EXPECT_GE(pieces, 2);
}

TEST_F(H2, ObeysTheWindowOfThePeer) {
  AnswerStream();
  shared.slices.push_back(SharedSlice::Own(std::string(1 << 20, 'x')));
  client.Request("POST", "/machine/map", "{}");
  ASSERT_TRUE(server.Feed(AsBytes(client.TakeOutput())));
  std::size_t total = 0;
  for (std::string out = Take(); !out.empty(); out = Take()) total += out.size();
  // 64 KiB of window, and frame headers.
  EXPECT_LT(total, 66'000u);
  EXPECT_GE(total, 65'535u);
}

TEST_F(H2, TellsTheSourceThatThePeerHasGone) {
  AnswerStream();
  const auto stream = client.Request("POST", "/machine/map", "{}");
  Exchange();
  client.Reset(stream);
  Exchange();
  EXPECT_TRUE(shared.aborted);
  EXPECT_TRUE(shared.destroyed);
  EXPECT_EQ(handler.closed, std::vector<std::int32_t>{stream});
}

TEST_F(H2, ANullSourceBecomesAnError) {
  handler.on_request = [this](const H2Request& request) {
    EXPECT_TRUE(server.RespondStream(request.stream, 200, {}, [](BodyWaker&) { return nullptr; }));
  };
  const auto stream = client.Request("POST", "/machine/map", "{}");
  Exchange();
  EXPECT_EQ(client.answers[stream].status, 500);
}

TEST_F(H2, AbortEndsEveryStream) {
  AnswerStream();
  client.Request("POST", "/machine/map", "{}");
  Exchange();
  handler.on_request = nullptr;
  client.Request("POST", "/machine/register", "{}");
  client.Request("POST", "/incomplete", "", {}, true);
  Exchange();
  EXPECT_EQ(server.open_streams(), 3u);
  server.Abort();
  EXPECT_TRUE(shared.aborted);
  EXPECT_EQ(handler.closed.size(), 2u);
  EXPECT_FALSE(server.Respond(3, {200, {}, {}}));
  EXPECT_TRUE(server.finished());
}

TEST_F(H2, RefusesBodiesAboveTheLimit) {
  const auto large = client.Request("POST", "/large", std::string(1001, 'x'));
  const auto fits = client.Request("POST", "/fits", std::string(1000, 'x'));
  Exchange();
  EXPECT_EQ(client.answers[large].status, 413);
  EXPECT_TRUE(client.answers[large].closed);
  ASSERT_EQ(handler.requests.size(), 1u);
  EXPECT_EQ(handler.requests[0].stream, fits);
  EXPECT_EQ(server.open_streams(), 1u);
}

TEST_F(H2, BoundsTheBodiesOfASession) {
  const auto first = client.Request("POST", "/a", std::string(800, 'x'), {}, true);
  const auto second = client.Request("POST", "/b", std::string(800, 'x'), {}, true);
  Exchange();
  EXPECT_EQ(client.answers[first].status, 0);
  EXPECT_EQ(client.answers[second].status, 413);
  client.Reset(first);
  Exchange();
  const auto third = client.Request("POST", "/c", std::string(800, 'x'));
  Exchange();
  ASSERT_EQ(handler.requests.size(), 1u);
  EXPECT_EQ(handler.requests[0].stream, third);
}

TEST_F(H2, StopsThePeerThatSendsOn) {
  const auto stream = client.Request("POST", "/large", std::string(2000, 'x'), {}, true);
  Exchange();
  EXPECT_EQ(client.answers[stream].status, 413);
  EXPECT_TRUE(client.answers[stream].closed);
  EXPECT_EQ(server.open_streams(), 0u);
}

TEST_F(H2, RefusesTooManyHeaders) {
  std::vector<std::pair<std::string, std::string>> many;
  for (int i = 0; i < 64; ++i) many.emplace_back("x-" + std::to_string(i), "v");
  const auto crowded = client.Request("POST", "/a", "x", many);
  const auto large = client.Request("POST", "/b", "x", {{"x-long", std::string(17'000, 'v')}});
  Exchange();
  EXPECT_EQ(client.answers[crowded].status, 431);
  EXPECT_EQ(client.answers[large].status, 431);
  EXPECT_TRUE(handler.requests.empty());
  EXPECT_TRUE(handler.heads.empty());
}

TEST_F(H2, BoundsConcurrentStreams) {
  for (int i = 0; i < 150; ++i) client.Request("POST", "/wait", "x");
  Exchange();
  EXPECT_EQ(server.open_streams(), 100u);
  EXPECT_EQ(handler.requests.size(), 100u);
}

TEST_F(H2, RefusesWhatIsNotHttp2) {
  EXPECT_FALSE(server.Feed(AsBytes("GET / HTTP/1.1\r\nHost: h\r\n\r\n")));
  EXPECT_TRUE(server.finished());
  OutputPieces pieces;
  EXPECT_FALSE(server.TakeOutput(100, pieces));
}

TEST_F(H2, AnswersViolationsWithGoaway) {
  Exchange();
  // DATA on stream 0.
  ASSERT_TRUE(server.Feed(AsBytes(std::string("\0\0\1\0\0\0\0\0\0x", 10))));
  EXPECT_TRUE(client.Feed(Take()));
  EXPECT_TRUE(client.goaway);
  EXPECT_NE(client.goaway_error, 0u);
  EXPECT_TRUE(server.finished());
}

TEST_F(H2, EndsASettingsFlood) {
  Exchange();
  bool failed = false;
  for (int i = 0; i < 20'000 && !failed; ++i) {
    failed = !server.Feed(AsBytes(std::string("\0\0\0\4\0\0\0\0\0", 9)));
  }
  EXPECT_TRUE(failed);
}

TEST_F(H2, EndsAPingFloodEvenWhenItIsAnswered) {
  Exchange();
  bool failed = false;
  for (int i = 0; i < 20'000 && !failed; ++i) {
    failed = !server.Feed(AsBytes(std::string("\0\0\x08\6\0\0\0\0\0pingpong", 17)));
    if (!failed) Take();
  }
  EXPECT_TRUE(failed);
}

TEST_F(H2, EndsAFloodOfUnknownFrames) {
  Exchange();
  bool failed = false;
  const std::string frame = std::string("\0\x40\0\x55\0\0\0\0\0", 9) + std::string(16384, 'x');
  for (int i = 0; i < 1000 && !failed; ++i) failed = !server.Feed(AsBytes(frame));
  EXPECT_TRUE(failed);
}

TEST_F(H2, EndsAResetFlood) {
  Exchange();
  for (int i = 0; i < 3000 && !client.goaway && !feed_failed && !server.finished(); ++i) {
    const auto stream = client.Request("POST", "/a", "", {}, true);
    if (stream < 0) break;
    const std::string open = client.TakeOutput();
    client.Reset(stream);
    if (!server.Feed(AsBytes(open + client.TakeOutput()))) feed_failed = true;
    if (!feed_failed && !server.finished()) client.Feed(Take());
  }
  EXPECT_TRUE(client.goaway || feed_failed);
  EXPECT_EQ(server.open_streams(), 0u);
}

TEST_F(H2, EndsAContinuationFlood) {
  Exchange();
  // HEADERS without END_HEADERS, then CONTINUATION for ever.
  bool failed = !server.Feed(AsBytes(std::string("\0\0\1\1\0\0\0\0\1\x82", 10)));
  for (int i = 0; i < 1000 && !failed && !server.finished(); ++i) {
    failed = !server.Feed(AsBytes(std::string("\0\0\1\x09\0\0\0\0\1\x84", 10)));
    if (!failed) Take();
  }
  EXPECT_TRUE(failed || server.finished());
}

TEST_F(H2, GoAwayLetsStreamsFinish) {
  const auto stream = client.Request("POST", "/a", "x");
  Exchange();
  server.GoAway();
  Exchange();
  EXPECT_TRUE(client.goaway);
  EXPECT_FALSE(server.finished());
  EXPECT_TRUE(server.Respond(stream, {200, {}, "done"}));
  Exchange();
  EXPECT_EQ(client.answers[stream].body, "done");
  EXPECT_TRUE(server.finished());
}

TEST_F(H2, ResetEndsAStream) {
  const auto stream = client.Request("POST", "/a", "x");
  Exchange();
  server.Reset(stream);
  Exchange();
  EXPECT_TRUE(client.answers[stream].closed);
  EXPECT_NE(client.answers[stream].error, 0u);
  EXPECT_EQ(handler.closed, std::vector<std::int32_t>{stream});
}

TEST_F(H2, AnIdleSessionIsSmall) {
  AnswerStream();
  client.Request("POST", "/machine/map", "{}", {{"ts-lb", "nodekey:" + std::string(64, 'a')}});
  Exchange();
  EXPECT_LT(server.session_memory(), 64u << 10);
}

TEST(H2Limits, BoundTheMemoryOfTheEngine) {
  Handler handler;
  H2Limits limits;
  limits.session_memory = 40 << 10;
  H2Server server(handler, limits);
  H2Client client;
  bool failed = false;
  for (int i = 0; i < 100 && !failed; ++i) {
    client.Request("POST", "/a", "", {{"x-" + std::to_string(i), std::string(200, 'v')}}, true);
    failed = !server.Feed(AsBytes(client.TakeOutput()));
  }
  EXPECT_LE(server.session_memory(), 41u << 10);
}

}  // namespace
}  // namespace ringscale::core::http
