// What only the machine can refuse about a configuration (`ringscale configtest`): with
// file, line, key and what was expected, as everything else.
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <string_view>

#include "tests/support/temp_folder.h"
#include "tests/tools/local_server.h"
#include "tools/serverd/check_config.h"
#include "tools/serverd/config/load.h"

namespace ringscale::serverd {
namespace {

class ConfigErrors : public ::testing::Test {
 protected:
  // The configuration with a data directory, which is line 1.
  std::string ErrorOf(const std::string& text) {
    std::ofstream(Path()) << "data_dir = \"" << (folder_ / "data") << "\"\n" << text;
    return Check();
  }
  std::string Check() {
    const auto config = LoadConfigIn({.config_path = Path()}, {});
    if (!config) return config.error().message;
    const auto checked = CheckConfig(*config);
    return checked ? "no error" : checked.error().message;
  }
  [[nodiscard]] std::string Path() const { return folder_ / "test.toml"; }
  // "<file>:<line>: ".
  [[nodiscard]] std::string Line(int number) const {
    return Path() + ":" + std::to_string(number) + ": ";
  }

  tests::TempFolder folder_;
};

TEST_F(ConfigErrors, NoneWhenAllIsWell) {
  EXPECT_EQ(ErrorOf(""), "no error");
}

TEST_F(ConfigErrors, ACertificateThatIsMissing) {
  const std::string cert = folder_ / "c.pem";
  const std::string text = "\n[tls]\ncert = \"" + cert + "\"\nkey = \"" + cert + ".key\"\n";
  EXPECT_EQ(ErrorOf(text),
            Line(4) + "tls.cert: expected a certificate chain (PEM): " + cert + ": no such file");
  std::ofstream{cert} << "-----BEGIN CERTIFICATE-----\n";
  EXPECT_EQ(ErrorOf(text), Line(5) + "tls.key: expected the private key of tls.cert (PEM): " +
                               cert + ".key: no such file");
}

TEST_F(ConfigErrors, APolicyThatIsMissingOrWrong) {
  const std::string policy = folder_ / "policy.hujson";
  const std::string text = "policy.path = \"" + policy + "\"\n";
  EXPECT_EQ(ErrorOf(text),
            Line(2) + "policy.path: expected a policy file: " + policy + ": no such file");
  std::ofstream{policy} << "{\n  \"acls\": 3,\n}\n";
  const std::string wrong = ErrorOf(text);
  EXPECT_TRUE(wrong.starts_with(Line(2) + "policy.path: " + policy + ": ")) << wrong;
}

TEST_F(ConfigErrors, ADataDirectoryThatCannotBe) {
  std::ofstream{folder_ / "file"} << "";
  std::ofstream{Path()} << "\ndata_dir = \"" << (folder_ / "file") << "/data\"\n";
  const std::string error = Check();
  EXPECT_TRUE(error.starts_with(Line(2) + "data_dir: ")) << error;
}

// Nothing was given where it stands: the other key is blamed.
TEST_F(ConfigErrors, TheKeyThatWasGivenIsBlamed) {
  const std::string error = ErrorOf("\nserver_url = \"https://net.tailnet.internal\"\n");
  EXPECT_TRUE(error.starts_with(Line(3) + "server_url: ")) << error;
}

}  // namespace
}  // namespace ringscale::serverd
