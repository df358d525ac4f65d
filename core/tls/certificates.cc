#include "core/tls/certificates.h"

#include <sys/stat.h>

#include "core/crypto/key_file.h"
#include "core/crypto/secret_text.h"
#include "core/tls/server_context.h"

namespace ringscale::core::tls {

namespace {

constexpr std::size_t kMaxChainFile = 1024 * 1024;
constexpr std::int64_t kSoon = 7 * 24 * 3600;

CertificateStamp::File StampOfFile(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return {};
  return {.device = info.st_dev,
          .inode = info.st_ino,
          .size = info.st_size,
          .modified_ns = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec};
}

std::string ValidityWarning(const std::string& file, const ServerContext& context, WallTime now) {
  const auto date = [](std::int64_t unix_seconds) {
    return FormatRfc3339(WallTime{unix_seconds * 1'000'000'000});
  };
  const std::int64_t seconds = now.unix_ns / 1'000'000'000;
  if (seconds > context.not_after_unix()) {
    return file + ": the certificate expired on " + date(context.not_after_unix());
  }
  if (seconds < context.not_before_unix()) {
    return file + ": the certificate is not valid before " + date(context.not_before_unix());
  }
  if (seconds + kSoon > context.not_after_unix()) {
    return file + ": the certificate expires on " + date(context.not_after_unix());
  }
  return {};
}

}  // namespace

CertificateStamp StampOf(const CertificateFiles& files) {
  return {.certificate = StampOfFile(files.certificate), .key = StampOfFile(files.key)};
}

Result<LoadedCertificate> LoadCertificate(const CertificateFiles& files, WallTime now,
                                          std::string_view last_certificates) {
  LoadedCertificate loaded;
  loaded.stamp = StampOf(files);  // before reading: a change in between is seen later
  Result<std::string> chain = ReadPublicFile(files.certificate, kMaxChainFile);
  if (!chain) return Forward(chain);
  if (!last_certificates.empty()) chain->append("\n").append(last_certificates);
  Result<std::string> key = ReadPrivateFile(files.key, Readers::kOwnerAndGroup);
  if (!key) return Forward(key);
  Result<std::shared_ptr<const ServerContext>> context = MakeServerContext(
      {.chain = *chain, .key = *key, .chain_name = files.certificate, .key_name = files.key});
  Wipe(*key);
  if (!context) return Forward(context);
  loaded.context = std::move(*context);
  loaded.warning = ValidityWarning(files.certificate, *loaded.context, now);
  return loaded;
}

}  // namespace ringscale::core::tls
