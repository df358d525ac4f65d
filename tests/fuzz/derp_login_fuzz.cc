// A whole login in pieces, and the JSON inside ClientInfo, which a fuzzer would
// never get past the box to.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/crypto/box.h"
#include "relay/login/server_login.h"
#include "relay/wire/frame.h"
#include "tests/fuzz/accepted.h"

namespace {

using namespace ringscale;

class Everybody final : public relay::Admission {
 public:
  bool Allows(const core::NodePublic&, const core::SocketAddress&) const override { return true; }
};

struct Stage {
  core::PrivateKey server = core::PrivateKey::Generate();
  core::PrivateKey client = core::PrivateKey::Generate();
  Everybody everybody;
  relay::LoginContext context{server, server.PublicRaw(), everybody, relay::MeshKey{1}};
};

bool Feed(const Stage& stage, core::Bytes bytes, std::size_t piece) {
  relay::ServerLogin login(stage.context, {.over_tls = true});
  login.Start();
  std::size_t fed = 0;
  while (fed < bytes.size()) {
    const std::size_t size = std::min(piece, bytes.size() - fed);
    const auto result = login.Feed(bytes.subspan(fed, size));
    fed += size;
    if (!result) {
      if (!login.TakeOutput().empty()) std::abort();
      return false;
    }
    if (*result == relay::ServerLogin::Status::kDone) {
      if (login.TakeOutput().size() != 58) std::abort();
      login.Feed(bytes.subspan(fed));
      const relay::LoggedInClient client = login.TakeClient();
      if (client.key.zero()) std::abort();
      return true;
    }
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Stage stage;
  if (size < 2) return 0;
  const std::size_t piece = 1 + data[0];
  const core::Bytes bytes(data + 1, size - 1);
  Feed(stage, bytes, piece);

  const std::string json(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const bool valid = relay::ParseClientInfo(json).has_value();
  const auto box = core::SealBox(stage.client, stage.context.server_public, json);
  if (!box) std::abort();
  std::vector<std::uint8_t> frame(relay::kHeaderBytes);
  frame[0] = static_cast<std::uint8_t>(relay::FrameType::kClientInfo);
  core::StoreBe32(frame.data() + 1, static_cast<std::uint32_t>(relay::kKeyBytes + box->size()));
  const auto key = stage.client.PublicRaw();
  frame.insert(frame.end(), key.begin(), key.end());
  frame.insert(frame.end(), box->begin(), box->end());
  frame.insert(frame.end(), {1, 2, 3});
  if (Feed(stage, frame, piece) != valid) std::abort();
  if (valid) ringscale::fuzz::Accepted();
  return 0;
}
