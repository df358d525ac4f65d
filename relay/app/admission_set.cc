#include "relay/app/admission_set.h"

#include <mutex>
#include <utility>

namespace ringscale::relay {

bool OpenAdmission::Allows(const core::NodePublic& key,
                           const core::SocketAddress& /*remote*/) const {
  return !key.zero();
}

bool AdmissionSet::Allows(const core::NodePublic& key,
                          const core::SocketAddress& /*remote*/) const {
  const Stripe& stripe = stripes_[StripeOf(key)];
  const std::shared_lock lock(stripe.mutex);
  return stripe.keys.contains(key);
}

void AdmissionSet::Add(const core::NodePublic& key) {
  if (key.zero()) return;
  Stripe& stripe = stripes_[StripeOf(key)];
  const std::unique_lock lock(stripe.mutex);
  stripe.keys.insert(key);
}

void AdmissionSet::Remove(const core::NodePublic& key) {
  Stripe& stripe = stripes_[StripeOf(key)];
  const std::unique_lock lock(stripe.mutex);
  stripe.keys.erase(key);
}

void AdmissionSet::Replace(std::span<const core::NodePublic> keys) {
  std::array<Keys, kStripes> fresh;
  for (const core::NodePublic& key : keys) {
    if (!key.zero()) fresh[StripeOf(key)].insert(key);
  }
  for (std::size_t i = 0; i < kStripes; ++i) {
    const std::unique_lock lock(stripes_[i].mutex);
    std::swap(stripes_[i].keys, fresh[i]);
  }
}

std::size_t AdmissionSet::size() const {
  std::size_t total = 0;
  for (const Stripe& stripe : stripes_) {
    const std::shared_lock lock(stripe.mutex);
    total += stripe.keys.size();
  }
  return total;
}

}  // namespace ringscale::relay
