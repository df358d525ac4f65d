// What `ringscale relay status` shows, gathered over a second.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/engine/loop.h"
#include "relay/app/relay_service.h"
#include "tools/relayd/derp_metrics.h"
#include "tools/relayd/mesh_dialer.h"

namespace ringscale::relayd {

struct StatusParts {
  core::engine::Loop* loop = nullptr;
  relay::RelayService* relay = nullptr;
  const MeshDialer* mesh = nullptr;  // null: no mesh
  std::shared_ptr<const DerpMetrics> metrics;
  core::NodePublic key;
};

// On the loop's thread, where `done` gets a JSON object a second later.
void GatherStatus(const StatusParts& parts, std::size_t talkers,
                  std::function<void(std::string json)> done);

}  // namespace ringscale::relayd
