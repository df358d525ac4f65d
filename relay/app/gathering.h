// When a shard lets packets gather before it looks for them.
//
// A wake-up of a sleeping thread costs as much as the packet that it is for. Far
// below a full core, packets of different clients come one by one, each with a
// wake-up of its own; beyond it they come together by themselves. In between a
// shard sleeps a short while on purpose and takes what has come. Below kBusyRate
// it never does: there the time belongs to the packet.
#pragma once

#include <cstdint>

#include "core/base/time.h"

namespace ringscale::relay {

// For one shard, on its thread.
class Gathering {
 public:
  // How long a packet may wait at most, beyond what the kernel's timers add (some
  // 50 us).
  static constexpr core::Duration kPause = core::Micros(150);
  // Receives a second.
  static constexpr std::int64_t kBusyRate = 10'000;

  // What the next turn may let pass before it waits.
  [[nodiscard]] core::Duration pause() const { return on_ ? kPause : core::Duration{}; }

  // After a turn that brought `receives` of clients' data, at `now`.
  void OnTurn(core::Instant now, std::uint32_t receives) {
    if (receives == 0) return;
    ++turns_;
    receives_ += receives;
    const core::Duration elapsed = now - since_;
    if (elapsed < kWindow) return;
    // A bit of hysteresis, so that it does not flap around the rate.
    const std::int64_t rate = on_ ? kBusyRate * 3 / 4 : kBusyRate;
    const bool busy = receives_ * 1'000'000'000 >= rate * elapsed.ns;
    const bool comes_together = receives_ >= turns_ * (on_ ? kEnoughAfterPause : kEnoughAtOnce);
    on_ = busy && !comes_together;
    since_ = now;
    turns_ = 0;
    receives_ = 0;
  }

 private:
  static constexpr core::Duration kWindow = core::Millis(4);
  // Receives a turn that make a pause unnecessary.
  static constexpr std::int64_t kEnoughAtOnce = 4;
  static constexpr std::int64_t kEnoughAfterPause = 64;

  core::Instant since_;
  std::int64_t turns_ = 0;
  std::int64_t receives_ = 0;
  bool on_ = false;
};

}  // namespace ringscale::relay
