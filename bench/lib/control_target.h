// Where the control server under load is, and how its nodes reach it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/crypto/keys.h"
#include "core/net/address.h"
#include "core/tls/aead.h"
#include "core/tls/client.h"

namespace ringscale::bench {

struct ControlTarget {
  core::SocketAddress address;
  std::string host;         // Host header
  std::string server_name;  // what a certificate is checked for
  core::MachinePublic server_key;
  std::uint16_t capability_version = 142;
  // Null: plain. The pool goes with it and is used by the nodes' thread only.
  std::shared_ptr<const core::tls::ClientContext> tls;
  std::shared_ptr<core::tls::AeadPool> pool;
};

// How an https:// server proves who it is; by default the system's trust store.
struct TargetTrust {
  bool insecure = false;  // not at all
  std::string ca_file;    // PEM
};

// Takes "http://HOST[:PORT]" or "https://HOST[:PORT]", resolves the host, sets TLS
// up. Does not connect; `server_key` is empty.
core::Result<ControlTarget> ParseTarget(std::string_view url, const TargetTrust& trust = {});

// A connected socket (a non-blocking one may still be connecting). Waits of a
// blocking one end after 5 s.
enum class SocketMode : std::uint8_t { kBlocking, kNonBlocking };
core::Result<core::Fd> OpenSocket(const core::SocketAddress& address, SocketMode mode);

// GET `path` of the target, at most about `limit` bytes: head and body as they come.
// Blocks.
core::Result<std::string> FetchPage(const ControlTarget& target, std::string_view path,
                                    std::size_t limit);

// GET /key of the target. Blocks.
core::Result<core::MachinePublic> FetchServerKey(const ControlTarget& target);

}  // namespace ringscale::bench
