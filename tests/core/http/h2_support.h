// A server and a client of HTTP/2 that talk in memory.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/http/h2_server.h"
#include "tests/support/h2_client.h"

namespace ringscale::core::http::testing {

using ringscale::testing::H2Answer;
using ringscale::testing::H2Client;

// Remembers what it is told; answers what `on_request` says.
class Handler : public H2Handler {
 public:
  H2BodyLimits OnHead(const H2Request& head) override {
    heads.push_back(head.path);
    return limits;
  }
  void OnRequest(H2Request request) override {
    requests.push_back(request);
    if (on_request) on_request(request);
  }
  void OnStreamClosed(std::int32_t stream) override { closed.push_back(stream); }
  void OnOutputReady() override { ++ready; }

  H2BodyLimits limits{1000, 1500};
  std::vector<std::string> heads;
  std::vector<H2Request> requests;
  std::vector<std::int32_t> closed;
  int ready = 0;
  std::function<void(const H2Request&)> on_request;
};

// A body fed by the test.
class Source : public BodySource {
 public:
  struct Shared {
    std::deque<SharedSlice> slices;
    bool ended = false;
    bool aborted = false;
    bool destroyed = false;
    int pulls = 0;
    std::function<void()> on_pull;
    BodyWaker* waker = nullptr;
  };
  explicit Source(Shared& shared) : shared_(shared) {}
  ~Source() override { shared_.destroyed = true; }
  Status Pull(std::size_t limit, SliceList& out) override {
    ++shared_.pulls;
    if (shared_.on_pull) shared_.on_pull();
    while (limit > 0 && !shared_.slices.empty()) {
      SharedSlice& slice = shared_.slices.front();
      const std::size_t n = std::min(limit, slice.bytes.size());
      out.push_back({slice.owner, slice.bytes.substr(0, n)});
      slice.bytes.remove_prefix(n);
      limit -= n;
      if (slice.bytes.empty()) shared_.slices.pop_front();
    }
    if (!shared_.slices.empty()) return Status::kMore;
    return shared_.ended ? Status::kEnd : Status::kWait;
  }
  void OnAborted() override { shared_.aborted = true; }

 private:
  Shared& shared_;
};

class H2 : public ::testing::Test {
 protected:
  std::string Take(std::size_t max = SIZE_MAX) {
    OutputPieces pieces;
    EXPECT_TRUE(server.TakeOutput(max, pieces));
    std::string out;
    for (const std::string_view piece : pieces.Views()) out += piece;
    return out;
  }
  // Both sides talk until they are silent.
  void Exchange() {
    for (int round = 0; round < 100; ++round) {
      const std::string up = client.TakeOutput();
      if (!up.empty() && !server.Feed(AsBytes(up))) {
        feed_failed = true;
        return;
      }
      if (server.finished()) return;
      const std::string down = Take();
      if (!down.empty()) {
        EXPECT_TRUE(client.Feed(down));
      }
      if (up.empty() && down.empty()) return;
    }
  }
  void AnswerStream() {
    handler.on_request = [this](const H2Request& request) {
      EXPECT_TRUE(server.RespondStream(request.stream, 200, {}, [&](BodyWaker& waker) {
        shared.waker = &waker;
        return std::make_unique<Source>(shared);
      }));
    };
  }

  Source::Shared shared;  // outlives the server and its sources
  Handler handler;
  H2Server server{handler};
  H2Client client;
  bool feed_failed = false;
};

}  // namespace ringscale::core::http::testing
