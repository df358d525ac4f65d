#include "tools/serverd/certificate_keeper.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/tls/meta_certificate.h"
#include "relay/wire/frame.h"

namespace ringscale::serverd {
namespace {

// Names that clients brought, beside those known at start.
constexpr std::size_t kMaxNames = 64;

bool IsDnsName(const std::string& host) {
  if (host.empty() || host.size() > 253 || core::IpAddress::Parse(host)) return false;
  return std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}

}  // namespace

bool PinBelongsIntoMap(const Config& config) {
  if (!config.tls.cert.empty()) return false;
  return config.tls.self_signed || !config.server_url.starts_with("https://");
}

CertificateKeeper::CertificateKeeper(const Config& config)
    : data_dir_(config.data_dir), pinned_(PinBelongsIntoMap(config)) {}

core::Result<CertificateKeeper> CertificateKeeper::Create(
    const Config& config, std::set<std::string> names, core::WallTime now,
    const std::optional<std::array<std::uint8_t, 32>>& relay_key) {
  CertificateKeeper keeper(config);
  keeper.names_ = std::move(names);
  if (relay_key) {
    auto meta = core::tls::MakeMetaCertificate(
        *relay_key, static_cast<std::uint8_t>(relay::kProtocolVersion), now);
    if (!meta) return core::Forward(meta);
    keeper.meta_ = std::move(*meta);
  }
  if (!config.tls.cert.empty()) {
    keeper.files_ =
        core::tls::CertificateFiles{.certificate = config.tls.cert, .key = config.tls.key};
    auto loaded = core::tls::LoadCertificate(*keeper.files_, now, keeper.meta_);
    if (!loaded) {
      core::Error error = std::move(loaded.error());
      const auto blames = [&](const std::string& file) {
        return error.message.find(file) != std::string::npos;
      };
      // One path may begin with the other.
      const bool key = blames(config.tls.key) &&
                       (!blames(config.tls.cert) || config.tls.key.size() > config.tls.cert.size());
      error.message.insert(0, key ? "expected the private key of tls.cert (PEM): "
                                  : "expected a certificate chain (PEM): ");
      return std::unexpected(config.Blame({key ? "tls.key" : "tls.cert"}, std::move(error)));
    }
    keeper.loaded_ = std::move(*loaded);
  } else {
    auto generated = core::tls::LoadOrGenerateCertificate(
        config.data_dir, {keeper.names_.begin(), keeper.names_.end()}, now, keeper.meta_);
    if (!generated) return core::Forward(generated);
    keeper.loaded_ = std::move(generated->loaded);
    keeper.ca_file_ = std::move(generated->ca_file);
  }
  keeper.warning_ = keeper.loaded_.warning;
  return keeper;
}

std::string CertificateKeeper::pin() const {
  if (!pinned_) return "";
  return "sha256-raw:" + loaded_.context->leaf_sha256_hex();
}

bool CertificateKeeper::Refresh(core::WallTime now) {
  if (!files_ || core::tls::StampOf(*files_) == loaded_.stamp) return false;
  auto loaded = core::tls::LoadCertificate(*files_, now, meta_);
  if (!loaded) {
    warning_ = "the certificate was not reloaded: " + loaded.error().message;
    return false;
  }
  loaded_ = std::move(*loaded);
  warning_ = loaded_.warning;
  return true;
}

bool CertificateKeeper::Cover(const std::string& host, core::WallTime now) {
  if (files_ || names_.contains(host) || names_.size() >= kMaxNames || !IsDnsName(host)) {
    return false;
  }
  auto names = names_;
  names.insert(host);
  auto generated =
      core::tls::LoadOrGenerateCertificate(data_dir_, {names.begin(), names.end()}, now, meta_);
  if (!generated) {
    warning_ = "no certificate for " + host + ": " + generated.error().message;
    return false;
  }
  names_ = std::move(names);
  loaded_ = std::move(generated->loaded);
  return true;
}

}  // namespace ringscale::serverd
