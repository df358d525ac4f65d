// The set of node keys that may use the relay. Empty at first: nobody may.
// Thread-safe: control writes, fronts ask at every login.
#pragma once

#include <array>
#include <cstddef>
#include <shared_mutex>
#include <span>
#include <unordered_set>

#include "core/base/keyed_hash.h"
#include "core/crypto/keys.h"
#include "relay/app/ports.h"

namespace ringscale::relay {

// Lets everybody in: for a relay that is open on purpose.
class OpenAdmission final : public Admission {
 public:
  [[nodiscard]] bool Allows(const core::NodePublic& key,
                            const core::SocketAddress& remote) const override;
};

class AdmissionSet final : public Admission {
 public:
  [[nodiscard]] bool Allows(const core::NodePublic& key,
                            const core::SocketAddress& remote) const override;

  // The zero key is never added.
  void Add(const core::NodePublic& key);
  void Remove(const core::NodePublic& key);
  // Makes the set exactly this. Keys that are in both are admitted throughout.
  void Replace(std::span<const core::NodePublic> keys);
  [[nodiscard]] std::size_t size() const;

 private:
  using Keys = std::unordered_set<core::NodePublic, core::KeyedHasher>;
  struct alignas(64) Stripe {
    mutable std::shared_mutex mutex;
    Keys keys;
  };
  static constexpr std::size_t kStripes = 32;
  static std::size_t StripeOf(const core::NodePublic& key) {
    return (core::KeyedHasher()(key) >> 16) % kStripes;
  }

  std::array<Stripe, kStripes> stripes_;
};

}  // namespace ringscale::relay
