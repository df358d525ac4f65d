// Dials our own relay as a client would, at start and every ten minutes: a proxy
// that does not forward, a wrong certificate or a stale pin shows here before
// somebody's traffic does.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/base/result.h"
#include "core/base/time.h"

namespace ringscale::serverd {

struct RelayTarget {
  std::string host;     // name or address, as in URLs and certificates
  std::string address;  // what is dialled; empty: `host`
  std::uint16_t port = 443;
  std::string cert_name;  // "sha256-raw:<hex>", or empty: the system's trust store
};

// TLS, then GET /derp/probe. Blocks up to `limit`; for a thread of its own.
core::Result<> ProbeRelay(const RelayTarget& target, core::Duration limit);

// Repeats it on a thread of its own.
class RelayProber {
 public:
  // What a client would dial now; called on the prober's thread.
  using Target = std::function<RelayTarget()>;
  // The outcome of each probe; called on the prober's thread.
  using Report = std::function<void(const RelayTarget&, const core::Result<>&)>;

  RelayProber(Target target, Report report, core::Duration interval);
  RelayProber(const RelayProber&) = delete;
  RelayProber& operator=(const RelayProber&) = delete;
  ~RelayProber();  // waits for a probe under way

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace ringscale::serverd
