// A DERP client's way in, from the first byte of TCP to ServerInfo: TLS where the
// relay speaks it, the HTTP upgrade, ServerKey, ClientInfo. Sans-IO.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/lib/relay_target.h"
#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/crypto/keys.h"
#include "core/tls/aead.h"
#include "core/tls/client.h"
#include "core/tls/transport.h"
#include "relay/wire/frame_reader.h"

namespace ringscale::bench {

class DerpLogin {
 public:
  enum class Status : std::uint8_t { kNeedMore, kDone };

  // `tls` may be null for a relay without TLS. All references outlive the login.
  DerpLogin(const RelayTarget& target, std::shared_ptr<const core::tls::ClientContext> tls,
            const core::PrivateKey& key, core::tls::AeadPool& pool);

  // Call with no bytes first. Send TakeOutput() after every call.
  core::Result<Status> Feed(core::MutableBytes bytes);
  std::string TakeOutput();

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
  core::Result<> OnFrame(const relay::FrameView& frame);
  core::Result<> Send(std::string_view plaintext);
  core::Result<> SendRequest();

  const RelayTarget& target_;
  const core::PrivateKey& key_;
  core::tls::AeadPool& pool_;
  std::shared_ptr<const core::tls::ClientContext> context_;
  std::unique_ptr<core::tls::ClientHandshake> handshake_;
  core::tls::Transport transport_ = core::tls::Transport::Plain();
  Stage stage_ = Stage::kStart;
  std::string output_;
  std::vector<std::uint8_t> received_;  // plaintext not consumed yet
  relay::ClientFrameReader reader_;
};

}  // namespace ringscale::bench
