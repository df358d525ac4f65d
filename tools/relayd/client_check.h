// Who may use the relay, asked elsewhere: the tailscaled of this machine, a URL, or
// both one after the other. One thread asks for all clients at the same time.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/crypto/keys.h"
#include "core/net/address.h"
#include "core/obs/metrics.h"

namespace ringscale::relayd {

class ClientCheck {
 public:
  struct Options {
    std::string tailscaled_socket;  // empty: not asked
    std::string url;                // empty: not asked
    bool fail_open = true;          // admit while the URL cannot be reached
    core::Duration timeout = core::Seconds(5);
    std::size_t in_flight = 128;  // questions asked at the same time
    std::size_t waiting = 16384;  // more clients are refused
  };
  using Answer = std::move_only_function<void(bool allow)>;

  static core::Result<std::unique_ptr<ClientCheck>> Start(Options options,
                                                          core::MetricsRegistry& metrics);
  ClientCheck(const ClientCheck&) = delete;
  ClientCheck& operator=(const ClientCheck&) = delete;
  // Questions without an answer are refused.
  ~ClientCheck();

  // Any thread. `answer` is called once, from any thread.
  void Ask(const core::NodePublic& key, const core::IpAddress& source, Answer answer);

 private:
  class Impl;
  explicit ClientCheck(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

// {"NodePublic": "nodekey:...", "Source": "192.0.2.1"}: what the URL is asked.
std::string AdmissionRequest(const core::NodePublic& key, const core::IpAddress& source);
// {"Allow": true}. Anything else is a no.
bool IsAllowed(std::string_view answer);

}  // namespace ringscale::relayd
