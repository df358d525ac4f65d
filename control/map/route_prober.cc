#include "control/map/route_prober.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "core/base/hex.h"
#include "core/obs/log.h"

namespace ringscale::control {
namespace {

// How often is looked while some share a subnet.
constexpr core::Duration kTick = core::Millis(500);
// Clients open a new stream within this time when the network changes under them.
constexpr core::Duration kReconnect = core::Millis(500);

}  // namespace

RouteProber::RouteProber(core::engine::Loop& loop, Registry& registry, Hooks hooks,
                         ProbeOptions options)
    : loop_(loop), registry_(registry), hooks_(std::move(hooks)), options_(std::move(options)) {}

RouteProber::~RouteProber() {
  Stop();
}

void RouteProber::Start() {
  if (running_ || options_.interval <= core::Duration{}) return;
  running_ = true;
  OnTick();
}

void RouteProber::Stop() {
  if (std::exchange(running_, false)) loop_.CancelTimer(timer_);
}

void RouteProber::Reconfigure(core::Duration interval, core::Duration timeout,
                              std::uint32_t misses) {
  Stop();
  options_.interval = interval;
  options_.timeout = timeout;
  options_.misses = misses;
  if (interval <= core::Duration{}) {
    for (const auto& [id, router] : routers_) SetResponsive(id, true, "is not asked any more");
    routers_.clear();
  }
  Start();
}

void RouteProber::OnTick() {
  const std::set<NodeId> sharing = registry_.SharingRouters();
  timer_ = loop_.After(sharing.empty() ? options_.interval : kTick, [this] { OnTick(); });
  // Nobody knows of one that is not asked any more.
  for (auto it = routers_.begin(); it != routers_.end();) {
    if (sharing.contains(it->first)) {
      ++it;
    } else {
      SetResponsive(it->first, true, "is not asked any more");
      it = routers_.erase(it);
    }
  }
  const core::Instant now = loop_.Now();
  if (hooks_.storm_draining()) {
    for (auto& [id, router] : routers_) {
      router.probe.clear();
      router.due = now + options_.interval;
    }
    return;
  }
  for (const NodeId id : sharing) Check(id, routers_[id], now);
}

void RouteProber::Check(NodeId id, Router& router, core::Instant now) {
  const Node* const node = registry_.FindNode(id);
  if (node->live_streams == 0) {
    router.probe.clear();
    if (!router.seen) return;
    if (!router.gone_since) router.gone_since = now;
    if (now - *router.gone_since >= kReconnect) SetResponsive(id, false, "has disconnected");
    return;
  }
  if (!router.seen || router.gone_since) {
    router = {.seen = true, .gone_since = {}, .probe = {}, .due = now, .misses = 0};
  }
  if (now < router.due) return;
  if (!router.probe.empty()) {
    router.probe.clear();
    if (++router.misses >= options_.misses) {
      SetResponsive(id, false, "does not answer probes");
      router.due = now + options_.interval;
      return;
    }
  }
  Ask(id, router, now);
}

void RouteProber::Ask(NodeId id, Router& router, core::Instant now) {
  std::array<std::uint8_t, 16> bytes{};
  options_.random(bytes);
  std::string probe = core::HexEncode(bytes);
  // Without a map yet: asked at the next tick.
  if (!hooks_.ping(id, "/machine/ping-response?id=" + probe)) return;
  router.probe = std::move(probe);
  router.due = now + options_.timeout;
}

bool RouteProber::OnAnswer(std::string_view probe, const core::MachinePublic& machine) {
  for (const Node* node : registry_.NodesOfMachine(machine)) {
    const auto it = routers_.find(node->row.id);
    if (probe.empty() || it == routers_.end() || it->second.probe != probe) continue;
    Router& router = it->second;
    router.probe.clear();
    router.misses = 0;
    router.due = loop_.Now() + options_.interval;
    SetResponsive(it->first, true, "answers again");
    return true;
  }
  return false;
}

void RouteProber::SetResponsive(NodeId id, bool responsive, std::string_view why) {
  const Node* const node = registry_.FindNode(id);
  if (node == nullptr || node->unresponsive != responsive) return;
  core::LogInfo("control", "router " + std::string(why),
                {{"node", node->row.given_name},
                 {"id", id},
                 {"carries_shared_subnets", responsive ? "when needed" : "no"}});
  registry_.SetResponsive(id, responsive);
}

}  // namespace ringscale::control
