// Admission asked of a URL and of a tailscaled, with servers of the test.
#include "tools/relayd/client_check.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <functional>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/fd.h"
#include "tests/support/temp_folder.h"
#include "tests/tools/local_server.h"

namespace ringscale::relayd {
namespace {

// Answers every request with what the test says, one connection after the other.
class AnswerServer {
 public:
  // Of a Unix socket where `path` is not empty.
  explicit AnswerServer(std::string answer, const std::string& path = "")
      : answer_(std::move(answer)) {
    sockaddr_storage address{};
    socklen_t size = sizeof(sockaddr_in);
    if (path.empty()) {
      auto* inet = reinterpret_cast<sockaddr_in*>(&address);
      inet->sin_family = AF_INET;
      inet->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else {
      auto* unix_address = reinterpret_cast<sockaddr_un*>(&address);
      unix_address->sun_family = AF_UNIX;
      path.copy(unix_address->sun_path, sizeof(unix_address->sun_path) - 1);
      size = sizeof(sockaddr_un);
    }
    listener_ = core::Fd(socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_.get(), 16), 0);
    if (path.empty()) {
      getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
      port_ = ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
    }
    thread_ = std::thread([this] { Run(); });
  }
  ~AnswerServer() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  [[nodiscard]] std::string url() const {
    return "http://127.0.0.1:" + std::to_string(port_) + "/verify";
  }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void Run() {
    while (true) {
      const core::Fd connection(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!connection.valid()) return;
      std::string request;
      char buffer[4096];
      // A body, where there is one, ends with a brace.
      while (request.find("\r\n\r\n") == std::string::npos ||
             (request.starts_with("POST") && !request.ends_with('}'))) {
        const ssize_t size = recv(connection.get(), buffer, sizeof buffer, 0);
        if (size <= 0) break;
        request.append(buffer, static_cast<std::size_t>(size));
      }
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      if (!answer_.empty()) send(connection.get(), answer_.data(), answer_.size(), MSG_NOSIGNAL);
    }
  }

  const std::string answer_;
  core::Fd listener_;
  std::uint16_t port_ = 0;
  std::mutex mutex_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

std::string Http(int status, const std::string& body) {
  return "HTTP/1.1 " + std::to_string(status) +
         " x\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}

core::NodePublic SomeKey() {
  core::NodePublic key;
  key.raw.fill(0x42);
  return key;
}

bool Ask(ClientCheck& check) {
  std::promise<bool> answer;
  check.Ask(SomeKey(), *core::IpAddress::Parse("192.0.2.7"),
            [&answer](bool allow) { answer.set_value(allow); });
  return answer.get_future().get();
}

bool AskWith(ClientCheck::Options options) {
  core::MetricsRegistry metrics;
  auto check = ClientCheck::Start(std::move(options), metrics);
  EXPECT_TRUE(check);
  return Ask(**check);
}

TEST(ClientCheck, TheUrlIsAskedAsUpstreamAsks) {
  AnswerServer server(Http(200, R"({"Allow":true})"));
  EXPECT_TRUE(AskWith({.url = server.url()}));
  const auto requests = server.requests();
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_TRUE(requests[0].starts_with("POST /verify HTTP/1.1\r\n"));
  EXPECT_TRUE(requests[0].ends_with("\r\n\r\n{\"NodePublic\":\"" + SomeKey().text() +
                                    "\",\"Source\":\"192.0.2.7\"}"))
      << requests[0];
}

TEST(ClientCheck, OnlyAYesIsAYes) {
  for (const std::string& answer : {Http(200, R"({"Allow":false})"), Http(200, "{}"),
                                    Http(200, "nonsense"), Http(200, R"({"Allow":"true"})"),
                                    Http(403, R"({"Allow":true})"), Http(500, R"({"Allow":true})"),
                                    Http(200, R"({"Allow":true)" + std::string(8192, ' ') + "}")}) {
    AnswerServer server(answer);
    EXPECT_FALSE(AskWith({.url = server.url(), .fail_open = true})) << answer.substr(0, 100);
  }
}

TEST(ClientCheck, WhatHappensWithoutAnAnswerIsAChoice) {
  AnswerServer silent("");  // takes the connection and closes it
  EXPECT_TRUE(AskWith({.url = silent.url(), .fail_open = true}));
  EXPECT_FALSE(AskWith({.url = silent.url(), .fail_open = false}));
}

TEST(ClientCheck, TailscaledKnowsOrNot) {
  const tests::TempFolder folder;
  {
    AnswerServer server(Http(200, "{}"), folder / "yes");
    EXPECT_TRUE(AskWith({.tailscaled_socket = folder / "yes"}));
    const auto requests = server.requests();
    ASSERT_EQ(requests.size(), 1u);
    EXPECT_TRUE(requests[0].starts_with("GET /localapi/v0/whois?addr=nodekey%3A4242"));
    EXPECT_NE(requests[0].find("Host: local-tailscaled.sock\r\n"), std::string::npos);
    EXPECT_NE(requests[0].find("Tailscale-Cap: "), std::string::npos);
  }
  AnswerServer unknown(Http(404, "no match"), folder / "no");
  EXPECT_FALSE(AskWith({.tailscaled_socket = folder / "no"}));
  // Nobody there: nobody is admitted.
  EXPECT_FALSE(AskWith({.tailscaled_socket = folder / "missing"}));
}

TEST(ClientCheck, BothMustAgree) {
  const tests::TempFolder folder;
  AnswerServer knows(Http(200, "{}"), folder / "yes");
  AnswerServer does_not(Http(404, ""), folder / "no");
  AnswerServer allows(Http(200, R"({"Allow":true})"));
  AnswerServer refuses(Http(200, R"({"Allow":false})"));
  EXPECT_TRUE(AskWith({.tailscaled_socket = folder / "yes", .url = allows.url()}));
  EXPECT_FALSE(AskWith({.tailscaled_socket = folder / "yes", .url = refuses.url()}));
  EXPECT_FALSE(AskWith({.tailscaled_socket = folder / "no", .url = allows.url()}));
  EXPECT_EQ(allows.requests().size(), 1u);
}

TEST(ClientCheck, MoreThanItCanHoldAreRefused) {
  AnswerServer server(Http(200, R"({"Allow":true})"));
  EXPECT_FALSE(AskWith({.url = server.url(), .waiting = 0}));
}

TEST(ClientCheck, ManyAtTheSameTime) {
  AnswerServer server(Http(200, R"({"Allow":true})"));
  core::MetricsRegistry metrics;
  auto check = ClientCheck::Start({.url = server.url(), .in_flight = 4}, metrics);
  ASSERT_TRUE(check);
  std::vector<std::promise<bool>> answers(50);
  for (auto& answer : answers) {
    (*check)->Ask(SomeKey(), {}, [&answer](bool allow) { answer.set_value(allow); });
  }
  for (auto& answer : answers) EXPECT_TRUE(answer.get_future().get());
  EXPECT_NE(metrics.Render().find("ringscale_relay_admissions_total{result=\"allowed\"} 50"),
            std::string::npos);
}

TEST(ClientCheck, TheEndAnswersEverybody) {
  const core::Fd nobody_accepts(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(nobody_accepts.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(nobody_accepts.get(), 1), 0);
  getsockname(nobody_accepts.get(), reinterpret_cast<sockaddr*>(&address), &size);
  core::MetricsRegistry metrics;
  auto check = ClientCheck::Start(
      {.url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/"}, metrics);
  ASSERT_TRUE(check);
  std::promise<bool> answer;
  (*check)->Ask(SomeKey(), {}, [&answer](bool allow) { answer.set_value(allow); });
  check->reset();
  EXPECT_FALSE(answer.get_future().get());
}

}  // namespace
}  // namespace ringscale::relayd
