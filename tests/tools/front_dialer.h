// Clients of a front on real loops and sockets.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <functional>
#include <future>
#include <optional>
#include <string>
#include <string_view>

#include "tests/tools/front_support.h"

namespace ringscale::serverd {

// Runs on the loop's thread, waits for the end.
inline void RunOn(core::engine::Loop& loop, const std::function<void()>& call) {
  std::promise<void> done;
  ASSERT_TRUE(loop.Post([&] {
    call();
    done.set_value();
  }));
  done.get_future().wait();
}

// A blocking client, with TLS or without.
class Dialer {
 public:
  Dialer(std::uint16_t port, bool tls, bool tls12 = false)
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    // Ends a test that would hang; not a measure of anything.
    const timeval limit{.tv_sec = 30, .tv_usec = 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (tls) {
      tls_.emplace(tls12);
      while (!tls_->done() && !tls_->closed && Flush() && ReadSome()) {
      }
      Flush();
    }
  }
  void Write(std::string_view plaintext) {
    if (tls_) {
      tls_->Write(plaintext);
      Flush();
    } else {
      SendAll(plaintext);
    }
  }
  // Received so far; the caller may take from it.
  std::string& received() { return tls_ ? tls_->received : received_; }
  // False at the end of the connection.
  bool ReadSome() {
    char buffer[16384];
    // With a time limit a stopped process that goes on ends the wait.
    const ssize_t n = TEMP_FAILURE_RETRY(recv(fd_.get(), buffer, sizeof buffer, 0));
    ended_ = n == 0;
    if (n <= 0) return false;
    const std::string bytes(buffer, static_cast<std::size_t>(n));
    if (tls_) {
      tls_->Feed(bytes);
    } else {
      received_ += bytes;
    }
    return true;
  }
  [[nodiscard]] bool ended() const { return ended_; }
  bool ReadUntil(const std::function<bool()>& enough) {
    while (!enough()) {
      if (!ReadSome()) return false;
    }
    return true;
  }

 private:
  bool Flush() {
    SendAll(tls_->TakeOutput());
    return true;
  }
  void SendAll(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  core::Fd fd_;
  std::optional<TlsClient> tls_;
  std::string received_;
  bool ended_ = false;
};

}  // namespace ringscale::serverd
