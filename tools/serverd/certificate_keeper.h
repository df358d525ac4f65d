// The certificate of all TLS listeners: the operator's files, or one of our own
// making whose pin goes into the DERP map. Control thread only.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/tls/certificates.h"
#include "tools/serverd/config.h"

namespace ringscale::serverd {

class CertificateKeeper {
 public:
  // `names`: host names and addresses that clients may use for this server.
  // `relay_key`: the public key of the relay behind it, to be told in every handshake.
  static core::Result<CertificateKeeper> Create(
      const Config& config, std::set<std::string> names, core::WallTime now,
      const std::optional<std::array<std::uint8_t, 32>>& relay_key = std::nullopt);

  [[nodiscard]] const std::shared_ptr<const core::tls::ServerContext>& context() const {
    return loaded_.context;
  }
  // "sha256-raw:<hex>" when clients reach this self-signed certificate, else empty.
  [[nodiscard]] std::string pin() const;
  // Those it was made for, and those that clients brought.
  [[nodiscard]] const std::set<std::string>& names() const { return names_; }
  [[nodiscard]] bool generated() const { return !files_.has_value(); }
  // The CA that clients must trust for https with the generated certificate.
  [[nodiscard]] const std::string& ca_file() const { return ca_file_; }
  // Expired or soon to expire, or the last reload failed; empty when all is well.
  [[nodiscard]] const std::string& warning() const { return warning_; }

  // Reads changed files again; true when there is a new context. A bad file keeps
  // the old certificate and becomes the warning.
  bool Refresh(core::WallTime now);

  // A client uses this host name for the server: the generated certificate must
  // carry it. True when a new leaf was made: tell clients the new pin, then put
  // the new context to use. Bounded; names that are no DNS names are ignored.
  bool Cover(const std::string& host, core::WallTime now);

 private:
  explicit CertificateKeeper(const Config& config);

  std::string data_dir_;
  bool pinned_;  // PinBelongsIntoMap
  std::optional<core::tls::CertificateFiles> files_;
  std::set<std::string> names_;
  std::string meta_;  // PEM: the certificate of the relay's key; empty without one
  core::tls::LoadedCertificate loaded_;
  std::string ca_file_;
  std::string warning_;
};

// Whether clients reach our own TLS, so that its pin belongs into the DERP map:
// server_url unset or http://, or tls.self_signed; and no certificate files.
bool PinBelongsIntoMap(const Config& config);

}  // namespace ringscale::serverd
