// Files that an operator gives a server or a relay beside its configuration: the
// certificate and its key, the relay's key, the mesh key, derper's rates. What they
// stand for, or an error that names the file.
#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/base64.h"
#include "core/base/bytes.h"
#include "core/base/fd.h"
#include "core/tls/certificates.h"
#include "core/tls/issue.h"
#include "tests/fuzz/accepted.h"
#include "tests/fuzz/changed.h"
#include "tests/fuzz/require.h"
#include "tests/fuzz/server_identity.h"
#include "tools/relayd/settings.h"

namespace {

using ringscale::fuzz::Require;

using namespace ringscale;

// One file with this content, gone at the end.
class OneFile {
 public:
  explicit OneFile(std::string_view content) {
    static int made = 0;
    path_ = "/tmp/ringscale-fuzz-" + std::to_string(::getpid()) + "-" + std::to_string(++made);
    const core::Fd file(::open(path_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));
    Require(::write(file.get(), content.data(), content.size()) ==
            static_cast<ssize_t>(content.size()));
  }
  OneFile(const OneFile&) = delete;
  OneFile& operator=(const OneFile&) = delete;
  ~OneFile() { ::unlink(path_.c_str()); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

template <class Load>
void LoadFrom(std::string_view content, const Load& load) {
  const OneFile file(content);
  const auto loaded = load(file.path());
  if (loaded) {
    fuzz::Accepted();
  } else {
    Require(loaded.error().message.find(file.path()) != std::string::npos);
  }
}

void LoadPair(std::string_view chain, std::string_view key) {
  const OneFile chain_file(chain);
  const OneFile key_file(key);
  const auto loaded = core::tls::LoadCertificate(
      {.certificate = chain_file.path(), .key = key_file.path()}, core::WallNow());
  if (loaded) {
    Require(loaded->context->leaf_sha256_hex().size() == 64);
    fuzz::Accepted();
  } else {
    Require(loaded.error().message.find(chain_file.path()) != std::string::npos ||
            loaded.error().message.find(key_file.path()) != std::string::npos);
  }
  if (const auto leaf = core::tls::CertificateFromPem(chain)) {
    for (const std::string& name : core::tls::NamesOf(leaf.get())) {
      Require(name.starts_with("dns:") || name.starts_with("ip:"));
    }
  }
}

// PEM whose DER has been changed.
std::string WithChangedDer(const std::string& pem, core::Bytes& script) {
  const std::size_t begin = pem.find('\n') + 1;
  const std::size_t end = pem.find("-----END");
  std::string base64;
  for (const char c : std::string_view(pem).substr(begin, end - begin)) {
    if (c != '\n') base64 += c;
  }
  const auto der = core::Base64Decode(base64);
  Require(der.has_value());
  const std::string changed =
      core::Base64Encode(core::AsBytes(fuzz::Changed(std::string(core::AsText(*der)), script)));
  std::string out = pem.substr(0, begin);
  for (std::size_t at = 0; at < changed.size(); at += 64) out += changed.substr(at, 64) + "\n";
  return out + pem.substr(end);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  core::Bytes script(data + 1, size - 1);
  const std::string_view text = core::AsText(script);
  const fuzz::ServerIdentity& identity = fuzz::Identity();
  switch (data[0] % 6) {
    case 0:
      LoadPair(text, identity.key);
      break;
    case 1:
      LoadPair(identity.chain, text);
      break;
    case 2: {
      const std::string chain = WithChangedDer(identity.chain, script);
      LoadPair(chain, WithChangedDer(identity.key, script));
      break;
    }
    case 3:
      LoadFrom(text, relayd::LoadRelayKey);
      break;
    case 4:
      LoadFrom(text, relayd::LoadMeshKey);
      break;
    default:
      LoadFrom(text, relayd::LoadRateConfig);
  }
  return 0;
}
