// Addresses of published names, for clients whose own DNS does not work: looked up
// now and then by a thread of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/time.h"
#include "core/obs/metrics.h"

namespace ringscale::relayd {

// What clients asked for, as derper counts it: hits are names with addresses.
struct BootstrapDnsStats {
  core::SharedCounter requests;
  core::SharedCounter hits;
  core::SharedCounter misses;   // published names without addresses
  core::SharedCounter unknown;  // other names
};

class BootstrapDns {
 public:
  explicit BootstrapDns(std::vector<std::string> names,
                        core::Duration interval = core::Seconds(600));
  BootstrapDns(const BootstrapDns&) = delete;
  BootstrapDns& operator=(const BootstrapDns&) = delete;
  ~BootstrapDns();

  // To somebody who asks for that name, or for none: the JSON object of all that is
  // known; empty without names. Any thread.
  [[nodiscard]] std::string Answer(const std::string& name) const;
  [[nodiscard]] const std::shared_ptr<BootstrapDnsStats>& stats() const { return stats_; }

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
  const std::shared_ptr<BootstrapDnsStats> stats_ = std::make_shared<BootstrapDnsStats>();
};

}  // namespace ringscale::relayd
