#include "core/io/epoll_ring.h"
#include "relay/app/relay_shard_impl.h"

template class ringscale::relay::RelayShard<ringscale::core::io::EpollRing>;
