// A client's way into the relay under load.
#pragma once

#include <memory>
#include <utility>

#include "bench/lib/relay_target.h"
#include "relay/login/client_login.h"

namespace ringscale::bench {

class DerpLogin final : public relay::ClientLogin {
 public:
  // `tls` may be null for a relay without TLS. All references outlive the login.
  DerpLogin(const RelayTarget& target, std::shared_ptr<const core::tls::ClientContext> tls,
            const core::PrivateKey& key, core::tls::AeadPool& pool)
      : ClientLogin({.host = target.host, .server_name = target.server_name},
                    target.tls ? std::move(tls) : nullptr, key, pool) {}
};

}  // namespace ringscale::bench
