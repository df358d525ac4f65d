// The admin socket: HTTP over a Unix socket, with good, bad and slow clients.
#include "tools/serverd/admin_socket.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "tests/tools/local_server.h"
#include "tools/ctl/http.h"

namespace ringscale::serverd::testing {
namespace {

using control::AdminRequest;
using control::AdminRespond;
using control::AdminResponse;

// Sends bytes as they are and returns everything that comes back until the end.
std::string Raw(const std::string& path, std::string_view bytes, bool half_close = true) {
  auto fd = core::net::ConnectUnix(path);
  EXPECT_TRUE(fd.has_value());
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd->get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) break;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  if (half_close) ::shutdown(fd->get(), SHUT_WR);
  std::string out;
  char buffer[65536];
  for (;;) {
    const ssize_t got = ::recv(fd->get(), buffer, sizeof buffer, 0);
    if (got <= 0) return out;
    out.append(buffer, static_cast<std::size_t>(got));
  }
}

AdminSocket::Handler Echo() {
  return [](AdminRequest request, AdminRespond respond) {
    respond({.content_type = "text/plain",
             .body = request.method + " " + request.path + " " + request.query + " " + request.body,
             .stream = nullptr});
  };
}

ctl::HttpOptions To(const LocalServer& server) {
  return {.socket_path = server.path()};
}

TEST(AdminSocket, IsForItsOwnerOnly) {
  LocalServer server(Echo());
  struct stat info{};
  ASSERT_EQ(::stat(server.path().c_str(), &info), 0);
  EXPECT_TRUE(S_ISSOCK(info.st_mode));
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST(AdminSocket, AnswersRequests) {
  LocalServer server(Echo());
  const auto get = ctl::Exchange(To(server), {"GET", "/a?b=c", ""});
  ASSERT_TRUE(get.has_value()) << get.error().message;
  EXPECT_EQ(get->status, 200);
  EXPECT_EQ(get->content_type, "text/plain");
  EXPECT_EQ(get->body, "GET /a b=c ");
  const auto post = ctl::Exchange(To(server), {"POST", "/x", "{\"y\":1}"});
  EXPECT_EQ(post->body, "POST /x  {\"y\":1}");
}

TEST(AdminSocket, ServesSeveralRequestsOnOneConnection) {
  LocalServer server(Echo());
  const std::string two =
      "POST /1 HTTP/1.1\r\nHost: local\r\nContent-Length: 3\r\n\r\nabc"
      "GET /2 HTTP/1.1\r\nHost: local\r\n\r\n"
      "GET /3 HTTP/1.1\r\nHost: local\r\nConnection: close\r\n\r\n"
      "GET /4 HTTP/1.1\r\nHost: local\r\n\r\n";
  const std::string answer = Raw(server.path(), two, false);
  const auto first = answer.find("POST /1  abc");
  const auto second = answer.find("GET /2");
  const auto third = answer.find("GET /3");
  EXPECT_NE(third, std::string::npos) << answer;
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
  EXPECT_EQ(answer.find("GET /4"), std::string::npos);
}

TEST(AdminSocket, TellsGarbageFromRequests) {
  LocalServer server(Echo());
  struct Case {
    std::string bytes;
    const char* status;
  };
  const Case cases[] = {
      {std::string("\x16\x03\x01\x02\x00\x01\x00", 7), " 400 "},
      {"GET\r\n\r\n", " 400 "},
      {"GET / HTTP/1.1\r\n\r\n", " 400 "},  // no Host
      {"GET / HTTP/1.0\r\n\r\n", " 505 "},
      {"GET / HTTP/2\r\nHost: x\r\n\r\n", " 400 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n", " 413 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", " 400 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       " 400 "},
      {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", " 400 "},
      {"GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(40000, 'a') + "\r\n\r\n", " 431 "},
  };
  for (const Case& c : cases) {
    const std::string answer = Raw(server.path(), c.bytes, false);
    EXPECT_EQ(answer.substr(8, 5), c.status) << c.bytes.substr(0, 80) << "\n" << answer;
    EXPECT_NE(answer.find("application/problem+json"), std::string::npos);
  }
  // The client goes away in the middle: no answer, and nothing left behind.
  EXPECT_EQ(Raw(server.path(), "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"), "");
  EXPECT_EQ(ctl::Exchange(To(server), {"GET", "/after", ""})->body, "GET /after  ");
}

TEST(AdminSocket, AChunkedBodyOverTheLimitIsRefused) {
  LocalServer server(Echo(), nullptr, {.body = 1000});
  std::string request = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 20; ++i) request += "64\r\n" + std::string(100, 'a') + "\r\n";
  EXPECT_EQ(Raw(server.path(), request + "0\r\n\r\n", false).substr(8, 5), " 413 ");
}

TEST(AdminSocket, AHandlerThatForgetsToAnswerIsAnError) {
  LocalServer server([](AdminRequest, AdminRespond) {});
  EXPECT_EQ(ctl::Exchange(To(server), {"GET", "/", ""})->status, 500);
}

TEST(AdminSocket, AnswersMayComeLaterAndFromNobody) {
  AdminRespond kept;
  LocalServer server([&kept](AdminRequest, AdminRespond respond) { kept = std::move(respond); });
  std::thread client([&] {
    const auto answer = ctl::Exchange(To(server), {"GET", "/", ""});
    ASSERT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(answer->body, "late");
  });
  while (server.OnLoop([&] { return kept == nullptr; })) std::this_thread::yield();
  server.OnLoop([&] {
    std::exchange(kept, nullptr)({.content_type = "text/plain", .body = "late", .stream = nullptr});
  });
  client.join();
  // The client of this one is gone before the answer.
  {
    auto fd = core::net::ConnectUnix(server.path());
    const std::string request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    ASSERT_EQ(::send(fd->get(), request.data(), request.size(), 0),
              static_cast<ssize_t>(request.size()));
    while (server.OnLoop([&] { return kept == nullptr; })) std::this_thread::yield();
  }
  server.OnLoop([&] {
    std::exchange(kept, nullptr)({.content_type = "text/plain", .body = "x", .stream = nullptr});
  });
}

TEST(AdminSocket, TooManyConnectionsAreTurnedAway) {
  LocalServer server(Echo(), nullptr, {.connections = 2});
  auto one = core::net::ConnectUnix(server.path());
  auto two = core::net::ConnectUnix(server.path());
  while (server.OnLoop([&] { return server.parts().socket->connections(); }) < 2) {
    std::this_thread::yield();
  }
  EXPECT_NE(Raw(server.path(), "", false).find(" 503 "), std::string::npos);
  one->Reset();
  while (server.OnLoop([&] { return server.parts().socket->connections(); }) > 1) {
    std::this_thread::yield();
  }
  EXPECT_EQ(ctl::Exchange(To(server), {"GET", "/", ""})->status, 200);
}

TEST(AdminSocket, AConnectionWithoutARequestIsClosed) {
  LocalServer server(Echo(), nullptr, {.request = core::Millis(20)});
  EXPECT_EQ(Raw(server.path(), "GET / HTT", false), "");
}

// --- long bodies ---

std::string Pattern(std::size_t size) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>(i * 7 + i / 251);
  return out;
}

TEST(AdminSocket, StreamsAFile) {
  const std::string content = Pattern(5'000'000);
  LocalServer server(Echo(), [&](AdminSocket& socket) {
    socket.AddRoute("GET", "/local/backup", [&](AdminRequest, AdminRespond respond) {
      std::FILE* file = std::tmpfile();
      std::fwrite(content.data(), 1, content.size(), file);
      std::rewind(file);
      core::Fd fd(::dup(::fileno(file)));
      std::fclose(file);
      ::lseek(fd.get(), 0, SEEK_SET);
      respond(FileResponse(std::move(fd)));
    });
  });
  std::string got;
  const auto answer =
      ctl::Exchange(To(server), {"GET", "/local/backup", ""}, [&](std::string_view piece) {
        got += piece;
        return core::Result<>();
      });
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(got.size(), content.size());
  EXPECT_EQ(got, content);
  // Other routes go on as before, other methods of the path are not the route's.
  EXPECT_EQ(ctl::Exchange(To(server), {"POST", "/local/backup", ""})->body, "POST /local/backup  ");
}

// Gives what a test feeds it, piece by piece.
class FedBody final : public control::AdminBody {
 public:
  struct State {
    std::string ready;
    bool end = false;
    bool fail = false;
    bool aborted = false;
    core::http::BodyWaker* waker = nullptr;
  };
  explicit FedBody(State& state) : state_(state) {}
  Status Pull(std::size_t limit, core::SliceList& out) override {
    if (!state_.ready.empty()) {
      out.push_back(core::SharedSlice::Own(state_.ready.substr(0, limit)));
      state_.ready.erase(0, limit);
      return Status::kMore;
    }
    return state_.end ? Status::kEnd : Status::kWait;
  }
  [[nodiscard]] bool failed() const override { return state_.fail; }
  void OnAborted() override { state_.aborted = true; }

 private:
  State& state_;
};

AdminSocket::Handler Streaming(FedBody::State& state) {
  return [&state](AdminRequest, AdminRespond respond) {
    AdminResponse response;
    response.content_type = "application/octet-stream";
    response.stream = [&state](core::http::BodyWaker& waker) {
      state.waker = &waker;
      return std::make_unique<FedBody>(state);
    };
    respond(std::move(response));
  };
}

TEST(AdminSocket, AStreamWaitsUntilItIsWoken) {
  FedBody::State state;
  LocalServer server(Streaming(state));
  std::string got;
  std::thread client([&] {
    const auto answer = ctl::Exchange(To(server), {"GET", "/", ""}, [&](std::string_view piece) {
      got += piece;
      return core::Result<>();
    });
    EXPECT_TRUE(answer.has_value());
  });
  while (server.OnLoop([&] { return state.waker == nullptr; })) std::this_thread::yield();
  for (int i = 0; i < 3; ++i) {
    server.OnLoop([&] {
      state.ready += "piece ";
      state.waker->Wake();
    });
  }
  server.OnLoop([&] {
    state.end = true;
    state.waker->Wake();
  });
  client.join();
  EXPECT_EQ(got, "piece piece piece ");
}

TEST(AdminSocket, AStreamThatFailsIsNotTakenForComplete) {
  FedBody::State state{.ready = "half", .end = true, .fail = true};
  LocalServer server(Streaming(state));
  const auto answer = ctl::Exchange(To(server), {"GET", "/", ""},
                                    [](std::string_view) { return core::Result<>(); });
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, core::ErrorCode::kCorrupt);
}

TEST(AdminSocket, AClientThatLeavesEndsItsStream) {
  FedBody::State state;
  LocalServer server(Streaming(state));
  {
    auto fd = core::net::ConnectUnix(server.path());
    const std::string request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    ASSERT_GT(::send(fd->get(), request.data(), request.size(), 0), 0);
    while (server.OnLoop([&] { return state.waker == nullptr; })) std::this_thread::yield();
  }
  while (!server.OnLoop([&] {
    if (state.aborted) return true;
    state.ready = std::string(100'000, 'x');
    state.waker->Wake();
    return state.aborted;
  })) {
    std::this_thread::yield();
  }
}

class CountingSink final : public UploadSink {
 public:
  explicit CountingSink(std::atomic<int>& alive) : alive_(alive) { ++alive_; }
  ~CountingSink() override { --alive_; }
  core::Result<> Write(std::string_view piece) override {
    bytes_ += piece.size();
    if (piece.find("bad") != std::string_view::npos) {
      return core::Fail(core::ErrorCode::kInvalid, "this is not a backup");
    }
    return {};
  }
  void Finish(AdminRespond respond) override {
    respond({.content_type = "text/plain", .body = std::to_string(bytes_), .stream = nullptr});
  }

 private:
  std::atomic<int>& alive_;
  std::size_t bytes_ = 0;
};

TEST(AdminSocket, UploadsMayBeLongerThanBodies) {
  std::atomic<int> alive = 0;
  LocalServer server(Echo(), [&](AdminSocket& socket) {
    socket.AddUpload("POST", "/local/verify",
                     [&](const AdminRequest&) { return std::make_unique<CountingSink>(alive); });
  });
  const auto whole =
      ctl::Exchange(To(server), {"POST", "/local/verify", std::string(8'000'000, 'x')});
  ASSERT_TRUE(whole.has_value()) << whole.error().message;
  EXPECT_EQ(whole->body, "8000000");
  const auto bad = ctl::Exchange(To(server), {"POST", "/local/verify", "bad"});
  EXPECT_EQ(bad->status, 400);
  EXPECT_NE(bad->body.find("this is not a backup"), std::string::npos);
  Raw(server.path(), "POST /local/verify HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  while (alive != 0) std::this_thread::yield();
}

TEST(AdminSocket, HandsAConnectionOver) {
  LocalServer server(Echo(), [](AdminSocket& socket) {
    socket.AddTakeOver(
        "POST", "/local/handover",
        [](core::Fd fd, const core::net::PeerCredentials& peer, const AdminRequest& request) {
          const std::string text = "taken " + std::to_string(peer.uid) + " " + request.body;
          EXPECT_GT(::send(fd.get(), text.data(), text.size(), 0), 0);
        });
  });
  EXPECT_EQ(Raw(server.path(),
                "POST /local/handover HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", false),
            "taken " + std::to_string(::getuid()) + " hi");
  EXPECT_EQ(server.OnLoop([&] { return server.parts().socket->connections(); }), 0U);
}

TEST(AdminSocket, StopAcceptingGivesTheListenerBack) {
  LocalServer server(Echo());
  auto listener = server.OnLoop([&] { return server.parts().socket->StopAccepting(); });
  ASSERT_TRUE(listener.has_value());
  EXPECT_EQ(listener->path(), server.path());
  EXPECT_FALSE(server.OnLoop([&] { return server.parts().socket->StopAccepting().has_value(); }));
}

}  // namespace
}  // namespace ringscale::serverd::testing
