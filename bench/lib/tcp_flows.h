// Bulk flows of the kernel's TCP from one TUN host to another, on a thread of
// their own: every sender writes as much as its socket takes, every receiver reads
// at once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/lib/tun_host.h"
#include "core/base/result.h"
#include "core/base/time.h"

namespace ringscale::bench {

class TcpFlows {
 public:
  // What the sender's kernel says of one flow (TCP_INFO).
  struct Sender {
    std::uint64_t segments = 0;
    std::uint64_t retransmits = 0;
    core::Duration rtt;
    std::uint64_t window_bytes = 0;  // congestion window
  };

  // Connects all flows, which takes the tunnel between the hosts; a limit of 15 s.
  // `congestion`: the algorithm of the senders.
  static core::Result<std::unique_ptr<TcpFlows>> Start(const TunHost& from, std::uint8_t to_number,
                                                       const TunHost& to, std::size_t count,
                                                       const std::string& congestion);
  TcpFlows(const TcpFlows&) = delete;
  TcpFlows& operator=(const TcpFlows&) = delete;
  ~TcpFlows();

  // Any thread.
  [[nodiscard]] std::vector<Sender> Senders() const;
  [[nodiscard]] std::vector<std::uint64_t> ReceivedBytes() const;

 private:
  struct State;
  explicit TcpFlows(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ringscale::bench
