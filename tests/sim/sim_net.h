// A network of the simulation: stream sockets between clients and the rings of
// shards, as plain byte queues. One thread, no time of its own.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/bytes.h"
#include "core/io/ring.h"

namespace ringscale::sim {

// Deterministic random numbers (splitmix64).
class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(seed) {}
  std::uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15ull;
    std::uint64_t x = state_;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
  }
  // In [0, bound).
  std::uint64_t Below(std::uint64_t bound) { return bound == 0 ? 0 : Next() % bound; }
  bool Chance(std::uint32_t percent) { return Below(100) < percent; }

 private:
  std::uint64_t state_;
};

struct SimSocket {
  int fd = -1;
  // Client to server, not received yet.
  std::vector<std::uint8_t> inbound;
  std::size_t inbound_taken = 0;
  bool inbound_ended = false;  // the client will send no more
  bool broken = false;         // a reset: both directions are gone
  // Server to client, not read yet; the server may have `window` bytes in it.
  std::vector<std::uint8_t> outbound;
  std::size_t window = 256 * 1024;
  bool server_closed = false;
  std::uint64_t acknowledged = 0;
  bool says_full = false;  // it answers that it has no room, instead of not at all
  core::Duration silent = core::Duration{INT64_MAX};  // since it answered anything

  // --- the ring's operations ---
  struct SendOperation {
    core::io::Token token;
    const iovec* pieces = nullptr;
    unsigned count = 0;
    std::size_t total = 0;
    std::size_t done = 0;
  };
  std::optional<core::io::Token> receive;
  bool receive_once = false;  // ends with the first bytes
  std::optional<SendOperation> send;

  [[nodiscard]] std::size_t inbound_left() const { return inbound.size() - inbound_taken; }
};

class SimNet {
 public:
  // Numbers far from real descriptors: closing one by mistake hits nothing.
  static constexpr int kFirstFd = 1 << 24;

  SimSocket& Open() {
    auto socket = std::make_unique<SimSocket>();
    socket->fd = next_fd_++;
    SimSocket& result = *socket;
    sockets_[socket->fd] = std::move(socket);
    return result;
  }
  SimSocket& At(int fd) { return *sockets_.at(fd); }
  // As the kernel does when a process ends.
  void CloseAll() {
    for (auto& [fd, socket] : sockets_) socket->server_closed = true;
  }
  // After the server closed it.
  void Forget(int fd) { sockets_.erase(fd); }
  [[nodiscard]] std::size_t size() const { return sockets_.size(); }

 private:
  int next_fd_ = kFirstFd;
  std::map<int, std::unique_ptr<SimSocket>> sockets_;
};

}  // namespace ringscale::sim
