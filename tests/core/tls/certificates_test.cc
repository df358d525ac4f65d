#include "core/tls/certificates.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "core/crypto/key_file.h"
#include "core/tls/client.h"
#include "core/tls/issue.h"
#include "core/tls/server_context.h"
#include "tests/core/tls/tls_test_support.h"
#include "tests/support/temp_folder.h"

namespace ringscale::core::tls {
namespace {

constexpr Duration kDay = Seconds(24 * 3600);

class CertificatesTest : public testing::Test {
 protected:
  void Write(const std::string& path, const std::string& content, unsigned mode = 0600) {
    ASSERT_TRUE(WriteFileAtomically(path, content, Replace::kYes, mode));
  }
  void WriteIdentity() {
    Write(files_.certificate, test::TestIdentity().chain, 0644);
    Write(files_.key, test::TestIdentity().key);
  }
  Error LoadError() {
    const Result<LoadedCertificate> loaded = LoadCertificate(files_, now_);
    EXPECT_FALSE(loaded);
    return loaded ? Error{} : loaded.error();
  }
  Result<GeneratedCertificate> Generate(const std::vector<std::string>& names) {
    return LoadOrGenerateCertificate(directory_, names, now_);
  }
  X509Ptr Read(const std::string& name) {
    return CertificateFromPem(*ReadPublicFile(directory_ + "/" + name, 100'000));
  }

  const tests::TempFolder temp_;
  const std::string& directory_ = temp_.path();
  CertificateFiles files_ = {.certificate = temp_ / "cert.pem", .key = temp_ / "key.pem"};
  WallTime now_ = WallNow();
};

TEST_F(CertificatesTest, LoadsGivenFiles) {
  WriteIdentity();
  const Result<LoadedCertificate> loaded = LoadCertificate(files_, now_);
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->context->leaf_sha256_hex(), test::TestIdentity().context->leaf_sha256_hex());
  EXPECT_EQ(loaded->warning, "");
  EXPECT_EQ(loaded->stamp, StampOf(files_));
}

TEST_F(CertificatesTest, ErrorsNameTheFile) {
  EXPECT_EQ(LoadError().code, ErrorCode::kNotFound);
  EXPECT_NE(LoadError().message.find(files_.certificate), std::string::npos);
  Write(files_.certificate, test::TestIdentity().chain, 0644);
  EXPECT_EQ(LoadError().code, ErrorCode::kNotFound);
  EXPECT_NE(LoadError().message.find(files_.key), std::string::npos);

  Write(files_.key, test::TestIdentity().key, 0644);
  EXPECT_EQ(LoadError().code, ErrorCode::kPermission);
  Write(files_.key, "not PEM");
  EXPECT_EQ(LoadError().code, ErrorCode::kCorrupt);
  EXPECT_NE(LoadError().message.find(files_.key), std::string::npos);

  Write(files_.key, KeyToPem(GenerateP256()->get()));
  EXPECT_EQ(LoadError().code, ErrorCode::kConflict);
  EXPECT_NE(LoadError().message.find(files_.certificate), std::string::npos);

  Write(files_.key, test::TestIdentity().key);
  Write(files_.certificate, "", 0644);
  EXPECT_EQ(LoadError().code, ErrorCode::kCorrupt);
  std::string damaged = test::TestIdentity().chain + test::TestIdentity().ca;
  damaged[damaged.size() - 200] = '!';
  Write(files_.certificate, damaged, 0644);
  EXPECT_EQ(LoadError().code, ErrorCode::kCorrupt) << "a damaged issuer is not dropped silently";
}

TEST_F(CertificatesTest, EncryptedKeyIsAnErrorNotAPrompt) {
  WriteIdentity();
  const PkeyPtr key = KeyFromPem(test::TestIdentity().key);
  const BioPtr memory(BIO_new(BIO_s_mem()));
  ASSERT_EQ(PEM_write_bio_PKCS8PrivateKey(memory.get(), key.get(), EVP_aes_128_cbc(), "pass", 4,
                                          nullptr, nullptr),
            1);
  std::string pem;
  DrainBio(memory.get(), pem);
  Write(files_.key, pem);
  EXPECT_EQ(LoadError().code, ErrorCode::kCorrupt);
  EXPECT_NE(LoadError().message.find("passphrase"), std::string::npos);
}

TEST_F(CertificatesTest, ValidityIsAWarning) {
  WriteIdentity();
  const auto warning = [&](Duration later) {
    return LoadCertificate(files_, now_ + later)->warning;
  };
  EXPECT_NE(warning(kDay * (3650 + 1)).find("expired on"), std::string::npos);
  EXPECT_NE(warning(kDay * (3650 - 3)).find("expires on"), std::string::npos);
  EXPECT_NE(warning(kDay * -10).find("not valid before"), std::string::npos);
  EXPECT_EQ(warning(kDay * 1000), "");
}

TEST_F(CertificatesTest, StampSeesReplacedAndRewrittenFiles) {
  const CertificateStamp missing = StampOf(files_);
  WriteIdentity();
  const CertificateStamp first = StampOf(files_);
  EXPECT_NE(first, missing);
  EXPECT_EQ(StampOf(files_), first);
  Write(files_.key, test::TestIdentity().key);  // the same content in a new file
  EXPECT_NE(StampOf(files_), first);
  const CertificateStamp second = StampOf(files_);
  std::ofstream(files_.certificate, std::ios::app) << "\n";
  EXPECT_NE(StampOf(files_), second);
}

TEST_F(CertificatesTest, WholeChainIsSent) {
  Write(files_.certificate, test::TestIdentity().chain + test::TestIdentity().ca, 0644);
  Write(files_.key, test::TestIdentity().key);
  const Result<LoadedCertificate> loaded = LoadCertificate(files_, now_);
  ASSERT_TRUE(loaded);
  std::unique_ptr<Handshake> server = std::move(*StartHandshake(loaded->context));
  test::OpenSslClient client;
  client.Handshake({});
  ASSERT_TRUE(server->Feed(AsBytes(client.TakeOutput())));
  ASSERT_TRUE(client.Handshake(server->TakeOutput()));
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(client.ssl())), 2);
}

TEST_F(CertificatesTest, GeneratedOnceThenReused) {
  const Result<GeneratedCertificate> first =
      Generate({"Relay.Example", "192.0.2.7", "2001:db8::7"});
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_TRUE(first->new_leaf);
  EXPECT_EQ(first->ca_file, directory_ + "/tls-ca.pem");
  const Result<GeneratedCertificate> second = Generate({"192.0.2.7", "relay.example"});
  ASSERT_TRUE(second);
  EXPECT_FALSE(second->new_leaf) << "its names cover what is asked";
  EXPECT_EQ(second->loaded.context->leaf_sha256_hex(), first->loaded.context->leaf_sha256_hex());

  const std::string ca_before = *ReadPublicFile(first->ca_file, 100'000);
  const Result<GeneratedCertificate> third = Generate({"192.0.2.8"});
  ASSERT_TRUE(third);
  EXPECT_TRUE(third->new_leaf);
  EXPECT_NE(third->loaded.context->leaf_sha256_hex(), first->loaded.context->leaf_sha256_hex());
  EXPECT_EQ(*ReadPublicFile(third->ca_file, 100'000), ca_before) << "the same CA";
}

TEST_F(CertificatesTest, GeneratedLeafIsWhatClientsWant) {
  ASSERT_TRUE(Generate({"relay.example", "192.0.2.7", "2001:db8::7"}));
  const X509Ptr leaf = Read("tls-leaf.pem");
  const X509Ptr ca = Read("tls-ca.pem");
  ASSERT_TRUE(leaf && ca);
  EXPECT_NE(X509_NAME_cmp(X509_get_subject_name(leaf.get()), X509_get_issuer_name(leaf.get())), 0);
  EXPECT_EQ(X509_check_issued(ca.get(), leaf.get()), X509_V_OK);
  EXPECT_EQ(X509_check_host(leaf.get(), "relay.example", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_ip_asc(leaf.get(), "192.0.2.7", 0), 1);
  EXPECT_EQ(X509_check_ip_asc(leaf.get(), "2001:db8::7", 0), 1);
  EXPECT_NE(X509_check_host(leaf.get(), "other.example", 0, 0, nullptr), 1);
  EXPECT_EQ(X509_check_purpose(leaf.get(), X509_PURPOSE_SSL_SERVER, 0), 1);
  EXPECT_EQ(X509_check_ca(leaf.get()), 0);
  EXPECT_EQ(X509_check_ca(ca.get()), 1);
  int days = 0;
  int seconds = 0;
  ASSERT_EQ(ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(leaf.get())), 1);
  EXPECT_GE(days, 3648);
  char group[16] = {};
  std::size_t size = 0;
  ASSERT_EQ(EVP_PKEY_get_group_name(X509_get0_pubkey(leaf.get()), group, sizeof(group), &size), 1);
  EXPECT_STREQ(group, "prime256v1");
  for (const char* name : {"tls-ca-key.pem", "tls-leaf-key.pem"}) {
    struct stat info{};
    ASSERT_EQ(::stat((directory_ + "/" + name).c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600U) << name;
  }
}

TEST_F(CertificatesTest, GeneratedChainVerifiesAndOneCertificateIsSent) {
  const Result<GeneratedCertificate> generated = Generate({"relay.example", "127.0.0.1"});
  ASSERT_TRUE(generated);
  for (const char* name : {"relay.example", "127.0.0.1"}) {
    std::unique_ptr<Handshake> server = std::move(*StartHandshake(generated->loaded.context));
    std::unique_ptr<ClientHandshake> client = std::move(
        *StartClientHandshake(*MakeClientContext({.verify = ClientSettings::Verify::kCaFile,
                                                  .ca_file = generated->ca_file}),
                              name));
    ASSERT_TRUE(client->Feed({}));
    ASSERT_TRUE(server->Feed(AsBytes(client->TakeOutput())));
    const Result<ClientHandshake::Status> status = client->Feed(AsBytes(server->TakeOutput()));
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(*status, ClientHandshake::Status::kDone);
    EXPECT_EQ(client->peer_sha256_hex(), generated->loaded.context->leaf_sha256_hex());
  }
  std::unique_ptr<Handshake> server = std::move(*StartHandshake(generated->loaded.context));
  test::OpenSslClient client;
  client.Handshake({});
  ASSERT_TRUE(server->Feed(AsBytes(client.TakeOutput())));
  ASSERT_TRUE(client.Handshake(server->TakeOutput()));
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(client.ssl())), 1);
}

TEST_F(CertificatesTest, LeafIsRenewedBeforeItsEnd) {
  const std::string pin = Generate({"a.example"})->loaded.context->leaf_sha256_hex();
  now_ = now_ + kDay * (3650 - 60);
  const Result<GeneratedCertificate> renewed = Generate({"a.example"});
  ASSERT_TRUE(renewed);
  EXPECT_TRUE(renewed->new_leaf);
  EXPECT_NE(renewed->loaded.context->leaf_sha256_hex(), pin);
  EXPECT_EQ(renewed->loaded.warning, "");
}

// A start that was cut short at any point is completed by the next.
TEST_F(CertificatesTest, MissingFilesAreMadeAgainFromThoseThatExist) {
  ASSERT_TRUE(Generate({"a.example"}));
  const std::string ca_key = *ReadPrivateFile(directory_ + "/tls-ca-key.pem");
  for (const char* missing : {"tls-leaf.pem", "tls-leaf-key.pem", "tls-ca.pem"}) {
    ASSERT_TRUE(std::filesystem::remove(directory_ + "/" + missing));
    const Result<GeneratedCertificate> again = Generate({"a.example"});
    ASSERT_TRUE(again) << missing << again.error().message;
    EXPECT_EQ(*ReadPrivateFile(directory_ + "/tls-ca-key.pem"), ca_key);
    EXPECT_EQ(X509_check_issued(Read("tls-ca.pem").get(), Read("tls-leaf.pem").get()), X509_V_OK);
    EXPECT_FALSE(Generate({"a.example"})->new_leaf);
  }
  Write(directory_ + "/tls-leaf.pem", "damaged", 0644);
  EXPECT_TRUE(Generate({"a.example"})->new_leaf);
}

TEST_F(CertificatesTest, DamagedCaIsAnError) {
  ASSERT_TRUE(Generate({"a.example"}));
  const std::string ca = *ReadPublicFile(directory_ + "/tls-ca.pem", 100'000);
  Write(directory_ + "/tls-ca.pem", "damaged", 0644);
  EXPECT_EQ(Generate({"a.example"}).error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(*ReadPublicFile(directory_ + "/tls-ca.pem", 100), "damaged") << "left as it is";
  Write(directory_ + "/tls-ca.pem", test::TestIdentity().ca, 0644);
  EXPECT_EQ(Generate({"a.example"}).error().code, ErrorCode::kConflict);
  Write(directory_ + "/tls-ca.pem", ca, 0644);
  Write(directory_ + "/tls-ca-key.pem", "damaged");
  EXPECT_EQ(Generate({"a.example"}).error().code, ErrorCode::kCorrupt);
}

TEST_F(CertificatesTest, KeysThatOthersCanReadAreRefused) {
  ASSERT_TRUE(Generate({"a.example"}));
  ASSERT_EQ(::chmod((directory_ + "/tls-ca-key.pem").c_str(), 0640), 0);
  EXPECT_EQ(Generate({"a.example"}).error().code, ErrorCode::kPermission);
}

TEST_F(CertificatesTest, NamesAreChecked) {
  EXPECT_EQ(Generate({}).error().code, ErrorCode::kInvalid);
  for (const char* name : {"", ".a", "a.", "a b", "a\nb", "[::1]", "a/b", "exämple"}) {
    EXPECT_EQ(Generate({name}).error().code, ErrorCode::kInvalid) << name;
  }
  EXPECT_EQ(Generate({std::string(254, 'a')}).error().code, ErrorCode::kInvalid);
  EXPECT_TRUE(std::filesystem::is_empty(directory_)) << "nothing was made for them";
  EXPECT_TRUE(Generate({std::string(253, 'a'), "host", "::1"}));
}

TEST_F(CertificatesTest, ReadOnlyDirectoryIsAnError) {
  EXPECT_EQ(LoadOrGenerateCertificate(directory_ + "/missing", {"a"}, now_).error().code,
            ErrorCode::kIo);
}

}  // namespace
}  // namespace ringscale::core::tls
