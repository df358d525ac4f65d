// Clients that log in to a relay, many at a time, on a thread of their own: as a
// steady stream, as fast as possible, or a given number that then stays.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/lib/derp_login.h"
#include "bench/lib/histogram.h"
#include "bench/lib/relay_target.h"
#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/base/time.h"

namespace ringscale::bench {

struct LoginStormOptions {
  double per_second = 0;       // 0 = as fast as possible
  std::size_t in_flight = 64;  // logins under way at once, at most
  std::size_t total = 0;       // 0 = until Stop; else who fails tries again, as clients do
  bool keep = false;           // stay connected; else leave after the login
  int nice = 19;               // of the thread, so that it does not disturb others on its core
  core::Duration limit = core::Seconds(20);  // for one login
  std::string cipher_suites = "TLS_AES_128_GCM_SHA256";
};

class LoginStorm {
 public:
  struct Outcome {
    std::uint64_t done = 0;
    std::uint64_t failed = 0;
    std::string first_failure;
    Histogram took;  // from connect to ServerInfo
    double seconds = 0;
    double own_cpu_seconds = 0;
  };

  // Starts the thread.
  static core::Result<std::unique_ptr<LoginStorm>> Start(const RelayTarget& target,
                                                         const LoginStormOptions& options);
  LoginStorm(const LoginStorm&) = delete;
  LoginStorm& operator=(const LoginStorm&) = delete;
  // Stops and drops all connections.
  ~LoginStorm();

  [[nodiscard]] std::uint64_t done() const { return done_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t failed() const { return failed_.load(std::memory_order_relaxed); }
  // All of `total` have logged in.
  [[nodiscard]] bool finished() const { return finished_.load(std::memory_order_acquire); }

  // No further logins; ends the thread. Connections that were kept stay open.
  Outcome Stop();
  // Resets all kept connections at once. After Stop.
  void DropAll() { kept_.clear(); }
  // Kept connections that the relay has closed meanwhile. After Stop.
  [[nodiscard]] std::size_t CountLost() const;

 private:
  struct Attempt;
  LoginStorm(const RelayTarget& target, LoginStormOptions options);
  void Run();
  bool Begin();
  // Drives one login; true when it is over.
  bool Drive(Attempt& attempt, bool readable);
  void Fail(const std::string& why);

  RelayTarget target_;
  LoginStormOptions options_;
  std::shared_ptr<const core::tls::ClientContext> tls_;
  core::tls::AeadPool pool_;
  core::Fd epoll_;
  std::vector<core::PrivateKey> keys_;  // of clients that leave: used again
  std::vector<std::unique_ptr<Attempt>> attempts_;
  std::vector<std::size_t> free_;
  std::vector<core::Fd> kept_;
  core::Instant next_try_;  // after a failure
  Outcome outcome_;
  std::atomic<std::uint64_t> done_{0};
  std::atomic<std::uint64_t> failed_{0};
  std::atomic<bool> finished_{false};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace ringscale::bench
