// What another relay answers to a link: any bytes, or the answers of a real relay with
// bytes changed, plain or inside TLS whose flights may be changed too, in slices.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "core/base/bytes.h"
#include "core/crypto/box.h"
#include "core/tls/handshake.h"
#include "core/tls/server_context.h"
#include "relay/login/client_login.h"
#include "relay/wire/frame.h"
#include "tests/fuzz/accepted.h"
#include "tests/fuzz/changed.h"
#include "tests/fuzz/require.h"
#include "tests/fuzz/server_identity.h"

namespace {

using ringscale::fuzz::Require;

using namespace ringscale;
using relay::ClientLogin;

std::string Frame(relay::FrameType type, std::string_view payload) {
  std::string frame(relay::kHeaderBytes, '\0');
  auto* head = reinterpret_cast<std::uint8_t*>(frame.data());
  head[0] = static_cast<std::uint8_t>(type);
  core::StoreBe32(head + 1, static_cast<std::uint32_t>(payload.size()));
  return frame.append(payload);
}

struct Stage {
  core::PrivateKey relay = core::PrivateKey::Generate();
  core::PrivateKey link = core::PrivateKey::Generate();
  std::shared_ptr<const core::tls::ServerContext> server;
  std::shared_ptr<const core::tls::ClientContext> client;
  std::string answer;  // what a relay says when all goes well

  Stage() {
    const fuzz::ServerIdentity& identity = fuzz::Identity();
    server = *core::tls::MakeServerContext(
        {.chain = identity.chain, .key = identity.key, .chain_name = "chain", .key_name = "key"});
    client = *core::tls::MakeClientContext({.verify = core::tls::ClientSettings::Verify::kSha256Pin,
                                            .pin = server->leaf_sha256_hex()});
    answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\n\r\n";
    const auto key = relay.PublicRaw();
    answer += Frame(relay::FrameType::kServerKey,
                    std::string(core::AsText({relay::kServerKeyMagic, relay::kMagicBytes})) +
                        std::string(core::AsText(key)));
    const auto box = core::SealBox(relay, link.PublicRaw(), R"({"version":2})");
    answer += Frame(relay::FrameType::kServerInfo, *box);
    answer += Frame(relay::FrameType::kKeepAlive, "");
  }
};

// Bytes for the login in slices; false when it ended.
bool Feed(ClientLogin& login, std::string bytes, std::size_t slice) {
  for (std::size_t at = 0; at < bytes.size(); at += slice) {
    const std::size_t size = std::min(slice, bytes.size() - at);
    const auto status = login.Feed({reinterpret_cast<std::uint8_t*>(bytes.data()) + at, size});
    if (!status) {
      Require(!status.error().message.empty());
      return false;
    }
    if (*status != ClientLogin::Status::kDone) continue;
    Require(!login.server_key().zero());
    (void)login.TakeOutput();
    (void)login.Take();
    fuzz::Accepted();
    return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Stage stage;
  if (size < 2) return 0;
  const std::uint8_t setting = data[0];
  const std::size_t slice = data[1] + std::size_t{1};
  core::Bytes script(data + 2, size - 2);
  const bool tls = (setting & 1) != 0;
  core::tls::AeadPool pool;
  ClientLogin login({.host = "relay.example", .server_name = "relay.example", .watch = true},
                    tls ? stage.client : nullptr, stage.link, pool);
  Require(login.Feed({}).has_value());

  std::unique_ptr<core::tls::Handshake> handshake;
  if (tls) handshake = std::move(*core::tls::StartHandshake(stage.server));
  while (handshake) {
    const std::string out = login.TakeOutput();
    if (out.empty()) return 0;  // it waits for what has been cut off
    const auto status = handshake->Feed(core::AsBytes(out));
    if (!Feed(login, fuzz::Changed(handshake->TakeOutput(), script), slice)) return 0;
    if (!status) return 0;
    if (*status == core::tls::Handshake::Status::kNeedMore) continue;
    auto transport = handshake->Finish();
    if (!transport) return 0;
    const std::string text = (setting & 2) != 0 ? std::string(core::AsText(script))
                                                : fuzz::Changed(stage.answer, script);
    const std::string_view pieces[] = {text};
    std::string wire;
    Require(transport->Seal(pool, pieces, wire).has_value());
    Feed(login, fuzz::Changed(std::move(wire), script), slice);
    return 0;
  }
  Feed(login,
       (setting & 2) != 0 ? std::string(core::AsText(script)) : fuzz::Changed(stage.answer, script),
       slice);
  return 0;
}
