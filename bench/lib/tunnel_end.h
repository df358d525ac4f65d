// A DERP client that carries the packets of a TUN host, as a Tailscale client does
// without WireGuard: what the host sends goes to one peer through the relay, what
// the peer sends is written to the host's device. On a thread of its own.
#pragma once

#include <cstdint>
#include <memory>

#include "bench/lib/histogram.h"
#include "bench/lib/relay_target.h"
#include "bench/lib/tun_host.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "core/crypto/keys.h"

namespace ringscale::bench {

struct TunnelOptions {
  int mtu = 1280;
  core::Duration delay;  // what arrives waits so long: half of a path's round trip
  // A slow receiver reads so many bytes a second (0 = as they come) from a socket
  // with a buffer of so many bytes, which is as much as is under way to it.
  std::uint64_t read_bytes_per_second = 0;
  int receive_buffer = 128 * 1024;
};

// Pings are small packets that another client sends to the same end: what they
// wait for is the relay's queue for this client.
enum class PingLane : std::uint8_t { kData, kDisco };
inline constexpr std::size_t kPingBytes = 128;
void WritePing(core::MutableBytes packet, PingLane lane, core::Instant sent);

class TunnelEnd {
 public:
  struct Counts {
    std::uint64_t sent = 0;      // packets of the host
    std::uint64_t received = 0;  // packets for the host
    Histogram data_pings;        // one way
    Histogram disco_pings;
    double cpu_seconds = 0;
    bool closed = false;  // the relay has closed the connection
  };

  // Logs in. `host` outlives it.
  static core::Result<std::unique_ptr<TunnelEnd>> Create(
      const RelayTarget& target, const std::shared_ptr<const core::tls::ClientContext>& tls,
      const TunHost& host, const TunnelOptions& options);
  TunnelEnd(const TunnelEnd&) = delete;
  TunnelEnd& operator=(const TunnelEnd&) = delete;
  ~TunnelEnd();

  [[nodiscard]] const core::NodePublic& key() const;
  // Starts the thread; once.
  void Start(const core::NodePublic& peer);
  // Since the last call. Any thread.
  Counts Cut();

 private:
  struct State;
  explicit TunnelEnd(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace ringscale::bench
