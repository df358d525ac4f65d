#include "core/tls/issue.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <array>
#include <cstring>
#include <optional>

#include "core/base/hex.h"
#include "core/net/address.h"

namespace ringscale::core::tls {

namespace {

constexpr int kDaysOfCa = 20 * 365;
constexpr int kDaysOfLeaf = 10 * 365;
constexpr std::string_view kDns = "dns:";
constexpr std::string_view kIp = "ip:";

using NamesPtr = std::unique_ptr<GENERAL_NAMES, OpenSslFree<GENERAL_NAMES_free>>;
using BignumPtr = std::unique_ptr<BIGNUM, OpenSslFree<BN_free>>;

bool IsDnsName(std::string_view name) {
  if (name.empty() || name.size() > 253 || name.front() == '.' || name.back() == '.') return false;
  for (const char c : name) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
                    c == '_' || c == '*';
    if (!ok) return false;
  }
  return true;
}

bool AddName(GENERAL_NAMES* names, const std::string& canonical) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  if (name == nullptr) return false;
  bool ok = false;
  if (canonical.starts_with(kDns)) {
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    const std::string_view value = std::string_view(canonical).substr(kDns.size());
    ok =
        text != nullptr && ASN1_STRING_set(text, value.data(), static_cast<int>(value.size())) == 1;
    GENERAL_NAME_set0_value(name, GEN_DNS, text);
  } else {
    const std::optional<IpAddress> ip = IpAddress::Parse(canonical.substr(kIp.size()));
    ASN1_OCTET_STRING* bytes = ASN1_OCTET_STRING_new();
    ok = ip && bytes != nullptr &&
         ASN1_OCTET_STRING_set(bytes, ip->bytes.data(), ip->bits() / 8) == 1;
    GENERAL_NAME_set0_value(name, GEN_IPADD, bytes);
  }
  if (ok && sk_GENERAL_NAME_push(names, name) > 0) return true;
  GENERAL_NAME_free(name);
  return false;
}

bool AddNames(X509* certificate, const std::set<std::string>& canonical) {
  const NamesPtr names(GENERAL_NAMES_new());
  if (!names) return false;
  for (const std::string& name : canonical) {
    if (!AddName(names.get(), name)) return false;
  }
  return X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) ==
         1;
}

bool AddExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_nconf_nid(nullptr, &context, nid, value);
  if (extension == nullptr) return false;
  const bool ok = X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return ok;
}

// Serial, validity and key; starts a day early for clocks that run late.
bool Fill(X509* certificate, EVP_PKEY* key, int days, WallTime now) {
  const BignumPtr serial(BN_new());
  auto base = static_cast<time_t>(now.unix_ns / 1'000'000'000);
  return serial && X509_set_version(certificate, X509_VERSION_3) == 1 &&
         BN_rand(serial.get(), 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate)) != nullptr &&
         X509_time_adj_ex(X509_getm_notBefore(certificate), -1, 0, &base) != nullptr &&
         X509_time_adj_ex(X509_getm_notAfter(certificate), days, 0, &base) != nullptr &&
         X509_set_pubkey(certificate, key) == 1;
}

bool AddSubject(X509_NAME* subject, const char* field, const std::string& value) {
  return X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(value.data()),
                                    static_cast<int>(value.size()), -1, 0) == 1;
}

// Eight digits that tell one CA from another in a trust store.
std::string KeyName(const X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  if (X509_pubkey_digest(certificate, EVP_sha256(), digest.data(), &size) != 1) return {};
  return HexEncode(Bytes(digest).first(4));
}

std::string Written(BIO* memory) {
  std::string text;
  DrainBio(memory, text);
  return text;
}

}  // namespace

Result<std::set<std::string>> CanonicalNames(const std::vector<std::string>& names) {
  std::set<std::string> canonical;
  for (std::string name : names) {
    if (const std::optional<IpAddress> ip = IpAddress::Parse(name)) {
      canonical.insert(std::string(kIp) + ip->text());
      continue;
    }
    for (char& c : name) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    if (!IsDnsName(name)) {
      return Fail(ErrorCode::kInvalid, "neither a DNS name nor an IP address: \"" + name + "\"");
    }
    canonical.insert(std::string(kDns) + name);
  }
  if (canonical.empty()) return Fail(ErrorCode::kInvalid, "a certificate needs a name");
  return canonical;
}

std::set<std::string> NamesOf(const X509* certificate) {
  std::set<std::string> canonical;
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    int type = 0;
    const auto* value = static_cast<const ASN1_STRING*>(
        GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &type));
    const std::uint8_t* data = ASN1_STRING_get0_data(value);
    const auto size = static_cast<std::size_t>(ASN1_STRING_length(value));
    if (type == GEN_DNS) {
      canonical.insert(std::string(kDns).append(AsText(Bytes(data, size))));
    } else if (type == GEN_IPADD && (size == 4 || size == 16)) {
      IpAddress ip;
      ip.family = size == 4 ? IpAddress::Family::kV4 : IpAddress::Family::kV6;
      std::memcpy(ip.bytes.data(), data, size);
      canonical.insert(std::string(kIp) + ip.text());
    }
  }
  return canonical;
}

Result<PkeyPtr> GenerateP256() {
  PkeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return FailOpenSsl(ErrorCode::kInternal, "cannot generate a key");
  return key;
}

Result<X509Ptr> IssueCa(EVP_PKEY* key, WallTime now) {
  X509Ptr ca(X509_new());
  if (!ca || !Fill(ca.get(), key, kDaysOfCa, now)) {
    return FailOpenSsl(ErrorCode::kInternal, "cannot make a CA certificate");
  }
  X509_NAME* subject = X509_get_subject_name(ca.get());
  if (!AddSubject(subject, "O", "ringscale") ||
      !AddSubject(subject, "CN", "ringscale CA " + KeyName(ca.get())) ||
      X509_set_issuer_name(ca.get(), subject) != 1 ||
      !AddExtension(ca.get(), ca.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !AddExtension(ca.get(), ca.get(), NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !AddExtension(ca.get(), ca.get(), NID_subject_key_identifier, "hash") ||
      X509_sign(ca.get(), key, EVP_sha256()) <= 0) {
    return FailOpenSsl(ErrorCode::kInternal, "cannot make a CA certificate");
  }
  return ca;
}

Result<X509Ptr> IssueLeaf(EVP_PKEY* key, const std::set<std::string>& names, X509* ca,
                          EVP_PKEY* ca_key, WallTime now) {
  X509Ptr leaf(X509_new());
  if (!leaf || names.empty() || !Fill(leaf.get(), key, kDaysOfLeaf, now)) {
    return FailOpenSsl(ErrorCode::kInternal, "cannot make a certificate");
  }
  // Clients match the alternative names; the subject only has to be there, to
  // differ from the issuer, and to fit X.520's 64 characters.
  if (!AddSubject(X509_get_subject_name(leaf.get()), "CN", "ringscale server") ||
      X509_set_issuer_name(leaf.get(), X509_get_subject_name(ca)) != 1 ||
      !AddExtension(leaf.get(), ca, NID_basic_constraints, "critical,CA:FALSE") ||
      !AddExtension(leaf.get(), ca, NID_key_usage, "critical,digitalSignature") ||
      !AddExtension(leaf.get(), ca, NID_ext_key_usage, "serverAuth") ||
      !AddExtension(leaf.get(), ca, NID_subject_key_identifier, "hash") ||
      !AddExtension(leaf.get(), ca, NID_authority_key_identifier, "keyid:always") ||
      !AddNames(leaf.get(), names) || X509_sign(leaf.get(), ca_key, EVP_sha256()) <= 0) {
    return FailOpenSsl(ErrorCode::kInternal, "cannot make a certificate");
  }
  return leaf;
}

std::string KeyToPem(EVP_PKEY* key) {
  const BioPtr memory(BIO_new(BIO_s_mem()));
  if (!memory ||
      PEM_write_bio_PrivateKey(memory.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return {};
  }
  return Written(memory.get());
}

std::string CertificateToPem(X509* certificate) {
  const BioPtr memory(BIO_new(BIO_s_mem()));
  if (!memory || PEM_write_bio_X509(memory.get(), certificate) != 1) return {};
  return Written(memory.get());
}

PkeyPtr KeyFromPem(std::string_view text) {
  const BioPtr memory(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  // A passphrase is never asked for: the callback has none.
  const auto none = [](char*, int, int, void*) { return 0; };
  PkeyPtr key(PEM_read_bio_PrivateKey(memory.get(), nullptr, none, nullptr));
  ERR_clear_error();
  return key;
}

X509Ptr CertificateFromPem(std::string_view text) {
  const BioPtr memory(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  X509Ptr certificate(PEM_read_bio_X509(memory.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  return certificate;
}

}  // namespace ringscale::core::tls
