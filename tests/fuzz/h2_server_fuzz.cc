// The HTTP/2 server: arbitrary frames after the preface, in arbitrary pieces,
// with answers at once, later, streamed and never.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/http/h2_server.h"
#include "tests/fuzz/accepted.h"

namespace {

using namespace ringscale::core;        // NOLINT
using namespace ringscale::core::http;  // NOLINT

class Source final : public BodySource {
 public:
  Source(std::set<BodyWaker*>& wakers, BodyWaker& waker) : wakers_(wakers), waker_(waker) {
    wakers_.insert(&waker_);
  }
  ~Source() override { wakers_.erase(&waker_); }
  Status Pull(std::size_t limit, SliceList& out) override {
    if (rounds_-- == 0) return Status::kEnd;
    if (rounds_ % 2 == 0) return Status::kWait;
    out.push_back(SharedSlice::Own(std::string(std::min<std::size_t>(limit, 5000), 's')));
    return Status::kMore;
  }

 private:
  std::set<BodyWaker*>& wakers_;
  BodyWaker& waker_;
  int rounds_ = 6;
};

class Handler final : public H2Handler {
 public:
  H2BodyLimits OnHead(const H2Request& head) override { return {head.path.size() * 64, 2048}; }
  void OnRequest(H2Request request) override {
    if (request.body.size() > 2048) std::abort();
    ringscale::fuzz::Accepted();
    open.push_back(request.stream);
    const std::string_view path = request.path;
    if (path.ends_with("map")) {
      server->RespondStream(request.stream, 200, {}, [this](BodyWaker& waker) {
        return std::make_unique<Source>(wakers, waker);
      });
    } else if (path.size() % 3 != 0) {
      server->Respond(request.stream, {200, {{"content-type", "text/plain"}}, request.body});
    }
  }
  void OnStreamClosed(std::int32_t stream) override {
    if (std::erase(open, stream) != 1) std::abort();
  }
  void OnOutputReady() override {}

  H2Server* server = nullptr;
  std::vector<std::int32_t> open;
  std::set<BodyWaker*> wakers;  // of the sources that live
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  Handler handler;
  H2Limits limits;
  limits.streams = 8;
  limits.idle_frames = 200;
  limits.session_memory = 128 << 10;
  {
    H2Server server(handler, limits);
    handler.server = &server;
    OutputPieces output;
    if (input.ConsumeBool()) {
      (void)server.Feed(AsBytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    }
    while (input.remaining_bytes() > 0 && !server.finished()) {
      switch (input.ConsumeIntegralInRange(0, 9)) {
        case 0:
          for (BodyWaker* waker : std::set(handler.wakers)) waker->Wake();
          break;
        case 1:
          if (!handler.open.empty()) server.Respond(handler.open.front(), {204, {}, {}});
          break;
        case 2:
          if (!handler.open.empty()) server.Reset(handler.open.back());
          break;
        case 3:
          output.Clear();
          (void)server.TakeOutput(input.ConsumeIntegralInRange(1, 70'000), output);
          (void)output.Views();
          break;
        case 4:
          server.GoAway();
          break;
        default:
          (void)server.Feed(AsBytes(input.ConsumeRandomLengthString(512)));
          break;
      }
      if (server.open_streams() > limits.streams + 1) std::abort();
      if (server.session_memory() > limits.session_memory + 4096) std::abort();
    }
    if (input.ConsumeBool()) {
      server.Abort();
      if (!handler.open.empty()) std::abort();
    }
  }
  if (!handler.wakers.empty()) std::abort();
  return 0;
}
