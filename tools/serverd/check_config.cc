#include "tools/serverd/check_config.h"

#include <utility>

#include "control/policy/document.h"
#include "control/policy/policy_keeper.h"
#include "core/crypto/key_file.h"
#include "storage/commit/lmdb_store.h"
#include "tools/serverd/certificate_keeper.h"
#include "tools/serverd/data_files.h"
#include "tools/serverd/settings.h"

namespace ringscale::serverd {
namespace {

// As far as it can be checked without the users of the store.
core::Result<> CheckPolicyFile(const Config& config) {
  if (config.policy.database || config.policy.path.empty()) return {};
  auto text = config.Blame({"policy.path"}, control::ReadPolicyFile(config.policy.path));
  if (!text) return core::Forward(text);
  const auto document = control::policy::ParseDocument(*text);
  if (document) return {};
  return std::unexpected(config.Blame(
      {"policy.path"},
      {core::ErrorCode::kInvalid, config.policy.path + ": " + document.error().text()}));
}

}  // namespace

core::Result<> CheckGivenCertificate(const Config& config) {
  if (config.tls.cert.empty()) return {};
  auto certificate = CertificateKeeper::Create(config, OwnNames(config), core::WallNow());
  if (!certificate) return core::Forward(certificate);
  return {};
}

core::Result<> CheckConfig(const Config& config) {
  if (auto policy = CheckPolicyFile(config); !policy) return policy;
  auto dir = LockData(config);
  if (!dir && dir.error().code == core::ErrorCode::kConflict) {
    // A server runs on that data, so keys and database are sound.
    return CheckGivenCertificate(config);
  }
  if (!dir) return core::Forward(dir);
  auto certificate = CertificateKeeper::Create(config, OwnNames(config), core::WallNow());
  if (!certificate) return core::Forward(certificate);
  for (const char* name : {kNoiseKeyFile, kRelayKeyFile}) {
    auto key = core::LoadOrCreatePrivateKey(dir->File(name));
    if (!key) return core::Forward(key);
  }
  storage::LmdbOptions options;
  options.path = dir->DatabasePath();
  auto store = storage::LmdbStore::Open(std::move(options));
  if (!store) return core::Forward(store);
  return {};
}

}  // namespace ringscale::serverd
