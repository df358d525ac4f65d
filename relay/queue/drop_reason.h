// Why a packet was not delivered, and the counters of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/obs/metrics.h"

namespace ringscale::relay {

// Label values are derper's where derper has one.
enum class DropReason : std::uint8_t {
  kUnknownDest,       // no such key here
  kUnknownDestOnFwd,  // the same for a packet that another relay forwarded
  kGoneDisconnected,  // the destination's connection ended first
  kQueueHead,         // oldest of a full lane
  kQueueTail,         // could not be queued at all
  kWriteError,        // the send it was part of failed
  kDupClient,         // several connections of the key, none of them active
  kQueueAge,          // ours: waited too long
  kNoMemory,          // ours: the shard's memory limit is reached
};
inline constexpr std::size_t kDropReasons = 9;

constexpr std::string_view DropReasonLabel(DropReason reason) {
  constexpr std::array<std::string_view, kDropReasons> kLabels = {
      "unknown_dest", "unknown_dest_on_fwd", "gone_disconnected", "queue_head", "queue_tail",
      "write_error",  "dup_client",          "queue_age",         "no_memory"};
  return kLabels[static_cast<std::size_t>(reason)];
}

// Counted apart everywhere, as derper does.
enum class PacketKind : std::uint8_t { kDisco, kOther };
inline constexpr std::size_t kPacketKinds = 2;

constexpr std::string_view PacketKindLabel(PacketKind kind) {
  return kind == PacketKind::kDisco ? "disco" : "other";
}

class DropCounters {
 public:
  // `bytes` of `count` packets: whole frames, with their headers.
  void Add(DropReason reason, PacketKind kind, std::uint64_t bytes, std::uint64_t count = 1) {
    counters_[static_cast<std::size_t>(reason)][static_cast<std::size_t>(kind)].Add(count);
    bytes_[static_cast<std::size_t>(reason)][static_cast<std::size_t>(kind)].Add(bytes);
  }
  [[nodiscard]] std::uint64_t Bytes(DropReason reason, PacketKind kind) const {
    return bytes_[static_cast<std::size_t>(reason)][static_cast<std::size_t>(kind)].Value();
  }
  [[nodiscard]] std::uint64_t Value(DropReason reason, PacketKind kind) const {
    return counters_[static_cast<std::size_t>(reason)][static_cast<std::size_t>(kind)].Value();
  }
  [[nodiscard]] std::uint64_t Total() const {
    std::uint64_t total = 0;
    for (const auto& kinds : counters_) {
      for (const auto& counter : kinds) total += counter.Value();
    }
    return total;
  }

 private:
  using PerReason = std::array<std::array<core::Counter, kPacketKinds>, kDropReasons>;
  PerReason counters_;
  PerReason bytes_;
};

}  // namespace ringscale::relay
