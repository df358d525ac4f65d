// Where a listener's certificate comes from: files of the operator, or a set that
// is generated once and kept in the data directory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/base/time.h"
#include "core/tls/handshake.h"

namespace ringscale::core::tls {

struct CertificateFiles {
  std::string certificate;  // PEM: the leaf, then its issuers
  std::string key;          // PEM, without a passphrase, not readable by others
};

// Changes when one of the files is replaced or rewritten.
struct CertificateStamp {
  struct File {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t size = -1;  // -1: no such file
    std::int64_t modified_ns = 0;
    bool operator==(const File&) const = default;
  };
  File certificate;
  File key;
  bool operator==(const CertificateStamp&) const = default;
};
CertificateStamp StampOf(const CertificateFiles& files);

struct LoadedCertificate {
  std::shared_ptr<const ServerContext> context;
  CertificateStamp stamp;  // reload when StampOf gives another one
  std::string warning;     // expired, not valid yet or soon to expire; empty = fine
};

// kNotFound, kPermission, kCorrupt, kConflict (key of another certificate); the
// message names the file. A certificate outside its validity loads with a warning.
// `last_certificates` (PEM) are sent behind the file's own.
Result<LoadedCertificate> LoadCertificate(const CertificateFiles& files, WallTime now,
                                          std::string_view last_certificates = {});

// --- generated ---

struct GeneratedCertificate {
  LoadedCertificate loaded;
  std::string ca_file;    // PEM of the CA: what a client trusts (SSL_CERT_FILE)
  bool new_leaf = false;  // the pin is not the one of the last start
};

// A leaf for `names` (DNS names and IP literals, at least one) issued by a CA that
// is generated too: P-256, leaf valid for 10 years. Files in `directory`, which
// exists: tls-ca.pem, tls-ca-key.pem, tls-leaf.pem, tls-leaf-key.pem; keys with mode
// 0600. A leaf that still covers `names` and is valid is used again; else the same
// CA issues a new one. Exactly one certificate is sent, as pinned clients demand.
// A damaged CA is an error, never replaced: clients trust it.
// Behind the one certificate `last_certificates` (PEM) are sent.
Result<GeneratedCertificate> LoadOrGenerateCertificate(const std::string& directory,
                                                       const std::vector<std::string>& names,
                                                       WallTime now,
                                                       std::string_view last_certificates = {});

}  // namespace ringscale::core::tls
