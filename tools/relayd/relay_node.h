// `ringscale relay`: the process put together. The relay's engine and front door as
// in `ringscale serve`, without a control plane.
//
// Threads: the caller's (start, signals, stop), one relay shard a core, one front a
// core, one loop for the local socket, one for admission questions, one a mesh peer.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/base/result.h"
#include "tools/serverd/config.h"
#include "tools/serverd/server.h"

namespace ringscale::relayd {

class RelayNode {
 public:
  // Everything is up when it returns. Before any thread of the process starts.
  static core::Result<std::unique_ptr<RelayNode>> Start(serverd::Config config, std::string version,
                                                        serverd::Inheritance inheritance);
  ~RelayNode();
  RelayNode(const RelayNode&) = delete;
  RelayNode& operator=(const RelayNode&) = delete;

  // Waits for SIGTERM or SIGINT, or for a successor; then closes clients one by one
  // and stops.
  void RunUntilSignal();

  // This relay as a node of a DERP map, for the person who started it.
  [[nodiscard]] std::string MapNode() const;

 private:
  class Impl;
  explicit RelayNode(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringscale::relayd
