#include "core/io/uring_ring.h"
#include "relay/app/relay_shard_impl.h"

template class ringscale::relay::RelayShard<ringscale::core::io::UringRing>;
