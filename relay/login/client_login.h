// A DERP client's way in, from the first byte of TCP to ServerInfo: TLS where the
// relay speaks it, the HTTP upgrade, ServerKey, ClientInfo. Sans-IO. For links to
// other relays, and for tools.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/crypto/keys.h"
#include "core/tls/aead.h"
#include "core/tls/client.h"
#include "core/tls/transport.h"
#include "relay/wire/frame_reader.h"

namespace ringscale::relay {

struct ClientLoginOptions {
  std::string host;         // Host header
  std::string server_name;  // whom the certificate must name
  std::string client_info = R"({"version":2,"CanAckPings":true})";
  bool watch = false;  // WatchConns follows at once
};

class ClientLogin {
 public:
  enum class Status : std::uint8_t { kNeedMore, kDone };

  // `tls` is null for a relay without TLS. The references outlive the login.
  ClientLogin(ClientLoginOptions options, std::shared_ptr<const core::tls::ClientContext> tls,
              const core::PrivateKey& key, core::tls::AeadPool& pool);

  // Call with no bytes first. Send TakeOutput() after every call.
  core::Result<Status> Feed(core::MutableBytes bytes);
  std::string TakeOutput();

  // After kDone: who the relay is.
  [[nodiscard]] const core::NodePublic& server_key() const { return server_key_; }
  // After kDone: the keys (null for plain), the start of a record not complete
  // yet, and DERP bytes behind ServerInfo.
  struct Established {
    std::unique_ptr<core::tls::RecordKeys> tls;
    std::vector<std::uint8_t> ciphertext;
    std::vector<std::uint8_t> plaintext;
  };
  Established Take();

 private:
  enum class Stage : std::uint8_t { kStart, kTls, kHead, kServerKey, kServerInfo, kDone };

  core::Result<> FeedTls(core::MutableBytes bytes);
  core::Result<> FeedPlaintext(core::Bytes bytes);
  core::Result<> OnFrame(const FrameView& frame);
  core::Result<> Send(std::string_view plaintext);
  core::Result<> SendRequest();

  const ClientLoginOptions options_;
  const core::PrivateKey& key_;
  core::tls::AeadPool& pool_;
  const bool tls_;
  core::NodePublic server_key_;
  std::shared_ptr<const core::tls::ClientContext> context_;
  std::unique_ptr<core::tls::ClientHandshake> handshake_;
  core::tls::Transport transport_ = core::tls::Transport::Plain();
  Stage stage_ = Stage::kStart;
  std::string output_;
  std::vector<std::uint8_t> received_;  // plaintext not consumed yet
  ClientFrameReader reader_;
};

}  // namespace ringscale::relay
