// Addresses of published names, for clients whose own DNS does not work: looked up
// now and then by a thread of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/time.h"

namespace ringscale::relayd {

class BootstrapDns {
 public:
  explicit BootstrapDns(std::vector<std::string> names,
                        core::Duration interval = core::Seconds(600));
  BootstrapDns(const BootstrapDns&) = delete;
  BootstrapDns& operator=(const BootstrapDns&) = delete;
  ~BootstrapDns();

  // The JSON object of what is known; empty without names. Any thread.
  [[nodiscard]] std::string Body() const;

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace ringscale::relayd
