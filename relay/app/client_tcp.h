// What the relay wants of the TCP sockets of its clients.
#pragma once

#include <cstdint>

#include "core/base/time.h"
#include "core/net/socket_options.h"

namespace ringscale::relay {

struct ClientTcp {
  core::Duration user_timeout = core::Seconds(15);  // TCP_USER_TIMEOUT
  core::Duration keep_alive_idle = core::Seconds(600);
  std::uint32_t unsent_bytes = 128 * 1024;

  [[nodiscard]] core::net::TcpOptions Options() const {
    core::net::TcpOptions options;
    options.user_timeout = user_timeout;
    options.keep_alive = core::net::TcpOptions::KeepAlive{.idle = keep_alive_idle};
    options.not_sent_low_water = unsent_bytes;
    return options;
  }
};

}  // namespace ringscale::relay
