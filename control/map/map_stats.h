// What the map fan-out has done, for metrics and tests.
#pragma once

#include "core/obs/metrics.h"

namespace ringscale::control {

struct MapStats {
  core::Counter full_maps;  // given to streams
  core::Counter one_shots;
  core::Counter deltas;            // messages about peers given to streams
  core::Counter delta_renders;     // those made; the rest was shared
  core::Counter self_updates;      // messages with a node's own Node
  core::Counter settings_updates;  // DNS, DERP map, filter
  core::Counter keep_alives;
  core::Counter pings;
  core::Counter bytes;             // pulled by connections
  core::Counter peers_changed;     // entries of PeersChanged in deltas made
  core::Counter peers_patched;     // entries of PeersChangedPatch in deltas made
  core::Counter peers_removed;     // entries of PeersRemoved in deltas made
  core::Counter compressions;      // zstd frames made
  core::Counter fan_outs;          // ticks that had something to tell
  core::Counter replaced_streams;  // ended because the node opened another
  core::Counter stalled_streams;   // ended because they did not take their map
  core::Gauge streams;
  core::Gauge waiting_for_map;  // in the queue for their first or a new full map
  core::Gauge sending_maps;     // full maps in transmission
  core::Gauge last_fan_out_us;
};

// Shows them at /metrics. `stats` must outlive the registry's use.
void AddMapMetrics(core::MetricsRegistry& registry, const MapStats& stats);

}  // namespace ringscale::control
