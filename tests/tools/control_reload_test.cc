// The control plane takes another configuration over, or refuses all of it.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/tls/certificates.h"
#include "tests/tools/control_plane_support.h"

namespace ringscale::serverd {
namespace {

class ControlReload : public ControlPlaneTest {
 protected:
  void SetUp() override {
    config_.origins.by_key = {{"tls.cert", "test.toml:3"}, {"policy.path", "test.toml:9"}};
    Start();
  }
  std::string Reload() {
    const auto done = plane_->Reload(config_);
    loop_.Turn();
    return done ? "" : done.error().message;
  }
  [[nodiscard]] std::string ServerUrl() const {
    return plane_->SiteFor("h.example", true).server_url;
  }
  // Certificate and key of another server; the leaf's hash.
  std::string GiveFiles() {
    const std::string other = folder_ / "other";
    std::filesystem::create_directory(other);
    auto made = core::tls::LoadOrGenerateCertificate(other, {"localhost"}, loop_.Wall());
    EXPECT_TRUE(made);
    config_.tls.cert = other + "/tls-leaf.pem";
    config_.tls.key = other + "/tls-leaf-key.pem";
    return made->loaded.context->leaf_sha256_hex();
  }
};

TEST_F(ControlReload, TheUrlIsTakenOver) {
  EXPECT_EQ(ServerUrl(), "https://h.example");
  config_.server_url = "https://net.example.com";
  EXPECT_EQ(Reload(), "");
  EXPECT_EQ(ServerUrl(), "https://net.example.com");
}

TEST_F(ControlReload, AnotherCertificateIsTakenOver) {
  const std::string leaf = GiveFiles();
  ASSERT_EQ(in_use_.size(), 1U);
  EXPECT_EQ(Reload(), "");
  EXPECT_EQ(in_use_.size(), 1U) << "clients hear first that the pin is gone";
  loop_.Advance(core::Seconds(1));
  ASSERT_EQ(in_use_.size(), 2U);
  EXPECT_EQ(in_use_.back(), leaf);
}

TEST_F(ControlReload, AMissingCertificateRefusesAll) {
  config_.server_url = "https://net.example.com";
  config_.tls = {.cert = "/nope.pem", .key = "/nope.key"};
  EXPECT_EQ(Reload(),
            "test.toml:3: tls.cert: expected a certificate chain (PEM): /nope.pem: no such file");
  EXPECT_EQ(ServerUrl(), "https://h.example");
  loop_.Advance(core::Seconds(30));
  EXPECT_EQ(in_use_.size(), 1U);
}

TEST_F(ControlReload, ABadPolicyRefusesAll) {
  config_.server_url = "https://net.example.com";
  config_.policy.path = folder_ / "policy.hujson";
  EXPECT_EQ(Reload(), "test.toml:9: policy.path: expected a policy file: " + config_.policy.path +
                          ": no such file");
  std::ofstream{config_.policy.path} << "{\"acls\": 3}";
  EXPECT_TRUE(Reload().starts_with("test.toml:9: policy.path: "));
  EXPECT_EQ(ServerUrl(), "https://h.example");
  std::ofstream{config_.policy.path} << R"({"grants":[]})";
  EXPECT_EQ(Reload(), "");
  EXPECT_EQ(ServerUrl(), "https://net.example.com");
}

// The generated certificate gets the names of another configuration and keeps those
// that it has.
TEST_F(ControlReload, AnotherNameIsCovered) {
  config_.derp.host = "derp.example.com";
  EXPECT_EQ(Reload(), "");
  loop_.Advance(core::Seconds(1));
  ASSERT_EQ(in_use_.size(), 2U);
  EXPECT_NE(in_use_[0], in_use_[1]);
  EXPECT_EQ(Reload(), "");
  loop_.Advance(core::Seconds(1));
  EXPECT_EQ(in_use_.size(), 2U) << "nothing has changed";
}

}  // namespace
}  // namespace ringscale::serverd
