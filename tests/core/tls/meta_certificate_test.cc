#include "core/tls/meta_certificate.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <array>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "core/base/hex.h"
#include "core/tls/certificates.h"
#include "core/tls/client.h"
#include "core/tls/openssl_util.h"
#include "core/tls/server_context.h"
#include "tests/support/temp_folder.h"

namespace ringscale::core::tls {
namespace {

std::array<std::uint8_t, 32> Key() {
  std::array<std::uint8_t, 32> key;
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::uint8_t>(i + 0xa0);
  return key;
}

X509Ptr Parsed(const std::string& pem) {
  const BioPtr memory(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  return X509Ptr(PEM_read_bio_X509(memory.get(), nullptr, nullptr, nullptr));
}

TEST(MetaCertificate, HasTheFormThatClientsLookFor) {
  const auto pem = MakeMetaCertificate(Key(), 2, WallNow());
  ASSERT_TRUE(pem) << pem.error().message;
  const X509Ptr certificate = Parsed(*pem);
  ASSERT_NE(certificate, nullptr);
  EXPECT_EQ(X509_get_version(certificate.get()), X509_VERSION_3);
  EXPECT_EQ(ASN1_INTEGER_get(X509_get0_serialNumber(certificate.get())), 2);
  const X509_NAME* subject = X509_get_subject_name(certificate.get());
  ASSERT_EQ(X509_NAME_entry_count(subject), 1);
  const ASN1_STRING* name = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, 0));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name)),
                        static_cast<std::size_t>(ASN1_STRING_length(name))),
            "derpkey" + HexEncode(Key()));
  EXPECT_EQ(X509_NAME_cmp(subject, X509_get_issuer_name(certificate.get())), 0);
  // One extension: more would make checks of the chain look closer at it.
  ASSERT_EQ(X509_get_ext_count(certificate.get()), 1);
  X509_EXTENSION* only = X509_get_ext(certificate.get(), 0);
  EXPECT_EQ(OBJ_obj2nid(X509_EXTENSION_get_object(only)), NID_basic_constraints);
  EXPECT_EQ(X509_EXTENSION_get_critical(only), 1);
  const PkeyPtr key(X509_get_pubkey(certificate.get()));
  EXPECT_EQ(EVP_PKEY_get_id(key.get()), EVP_PKEY_ED25519);
  EXPECT_EQ(X509_verify(certificate.get(), key.get()), 1);
  EXPECT_LT(X509_cmp_current_time(X509_get0_notBefore(certificate.get())), 0);
  EXPECT_GT(X509_cmp_current_time(X509_get0_notAfter(certificate.get())), 0);
}

TEST(MetaCertificate, IsTheLastOfTheChainAndLeavesThePinAlone) {
  const tests::TempFolder directory;
  const auto pem = MakeMetaCertificate(Key(), 2, WallNow());
  ASSERT_TRUE(pem);
  const auto without = LoadOrGenerateCertificate(directory.path(), {"h.example"}, WallNow());
  const auto with = LoadOrGenerateCertificate(directory.path(), {"h.example"}, WallNow(), *pem);
  ASSERT_TRUE(without);
  ASSERT_TRUE(with) << with.error().message;
  EXPECT_EQ(with->loaded.context->leaf_sha256_hex(), without->loaded.context->leaf_sha256_hex());
  STACK_OF(X509)* chain = nullptr;
  SSL_CTX_get_extra_chain_certs(NativeContext(*with->loaded.context), &chain);
  ASSERT_EQ(sk_X509_num(chain), 1);
  const X509Ptr meta = Parsed(*pem);
  EXPECT_EQ(X509_cmp(sk_X509_value(chain, 0), meta.get()), 0);
  SSL_CTX_get_extra_chain_certs(NativeContext(*without->loaded.context), &chain);
  EXPECT_LE(sk_X509_num(chain), 0);
}

TEST(MetaCertificate, FollowsAGivenChainThatStaysAsItIs) {
  const tests::TempFolder directory;
  const auto made = LoadOrGenerateCertificate(directory.path(), {"h.example"}, WallNow());
  ASSERT_TRUE(made);
  const auto read = [&](const std::string& name) {
    std::ifstream file(directory / name);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const CertificateFiles files{.certificate = directory / "chain.pem",
                               .key = directory / "tls-leaf-key.pem"};
  const std::string given = read("tls-leaf.pem") + read("tls-ca.pem");
  std::ofstream(files.certificate) << given;
  const auto pem = MakeMetaCertificate(Key(), 2, WallNow());
  ASSERT_TRUE(pem);
  // Once more, as a reload does it: nothing adds up.
  for (int load = 0; load < 2; ++load) {
    const auto with = LoadCertificate(files, WallNow(), *pem);
    ASSERT_TRUE(with) << with.error().message;
    STACK_OF(X509)* chain = nullptr;
    SSL_CTX_get_extra_chain_certs(NativeContext(*with->context), &chain);
    ASSERT_EQ(sk_X509_num(chain), 2);
    EXPECT_EQ(X509_cmp(sk_X509_value(chain, 0), Parsed(read("tls-ca.pem")).get()), 0);
    EXPECT_EQ(X509_cmp(sk_X509_value(chain, 1), Parsed(*pem).get()), 0);
    EXPECT_EQ(with->context->leaf_sha256_hex(), made->loaded.context->leaf_sha256_hex());
  }
  EXPECT_EQ(read("chain.pem"), given);
}

}  // namespace
}  // namespace ringscale::core::tls
