#include "relay/app/relay_shard_impl.h"
#include "tests/sim/relay_world.h"

template class ringscale::relay::RelayShard<ringscale::sim::SimRing>;
