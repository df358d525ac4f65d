// Asks routers that share a subnet whether they still answer, so that another one
// takes over from one whose cable was pulled, long before TCP or a poll notices.
// Nobody else is asked: a message wakes radios and costs batteries.
//
// Control thread only.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "control/state/registry.h"
#include "control/state/secrets.h"
#include "core/base/time.h"
#include "core/engine/loop.h"

namespace ringscale::control {

struct ProbeOptions {
  core::Duration interval = core::Seconds(5);  // from an answer to the next probe; 0 = no probes
  core::Duration timeout = core::Seconds(3);   // for an answer; a missed one is repeated at once
  std::uint32_t misses = 2;                    // in a row, then others take over
  RandomSource random = SystemRandom;
};

class RouteProber {
 public:
  struct Hooks {
    // Sends a tailcfg.PingRequest for this path; false: not possible now.
    std::function<bool(NodeId node, std::string_view path)> ping;
    // The server is busy with a reconnect storm: silence means nothing.
    std::function<bool()> storm_draining;
  };

  // `registry` must outlive this and be loaded before Start.
  RouteProber(core::engine::Loop& loop, Registry& registry, Hooks hooks, ProbeOptions options = {});
  ~RouteProber();
  RouteProber(const RouteProber&) = delete;
  RouteProber& operator=(const RouteProber&) = delete;

  void Start();
  // Nothing is concluded from here on, above all not from streams that end.
  void Stop();
  // Other intervals; `random` stays. After Start.
  void Reconfigure(core::Duration interval, core::Duration timeout, std::uint32_t misses);
  // A machine answers a probe; false: it was not asked this, or answered already.
  bool OnAnswer(std::string_view probe, const core::MachinePublic& machine);

 private:
  struct Router {
    // After a restart of the server a router has its time to return.
    bool seen = false;
    std::optional<core::Instant> gone_since;  // without a stream
    std::string probe;                        // under way; empty: none
    core::Instant due;                        // of the next probe, or of the answer
    std::uint32_t misses = 0;
  };

  void OnTick();
  void Check(NodeId id, Router& router, core::Instant now);
  void Ask(NodeId id, Router& router, core::Instant now);
  void SetResponsive(NodeId id, bool responsive, std::string_view why);

  core::engine::Loop& loop_;
  Registry& registry_;
  const Hooks hooks_;
  ProbeOptions options_;
  std::map<NodeId, Router> routers_;
  core::engine::TimerId timer_;
  bool running_ = false;
};

}  // namespace ringscale::control
