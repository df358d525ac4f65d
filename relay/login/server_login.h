// The server's side of a DERP login: ServerKey out, ClientInfo in, admission
// asked, ServerInfo out. Sans-IO; runs on a front thread, after TLS and the
// HTTP request.
//
// The owner enforces time: kLoginDeadline from the start to the end of
// ServerKey's sending, and again until kDone.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/base/time.h"
#include "core/crypto/keys.h"
#include "core/net/address.h"
#include "relay/app/ports.h"
#include "relay/login/client_info.h"
#include "relay/wire/frame_reader.h"

namespace ringscale::relay {

inline constexpr core::Duration kLoginDeadline = core::Seconds(10);

// What all logins of a server share. Must outlive them.
struct LoginContext {
  const core::PrivateKey& server_key;
  std::array<std::uint8_t, 32> server_public;  // of server_key, computed once
  const Admission& admission;
  // Clients that present it may watch, forward and close others. All zero means
  // none, whatever a client presents.
  std::optional<MeshKey> mesh_key;
  // Somebody who takes his time decides, instead of `admission` (Status::kAsk).
  bool ask = false;
};

struct LoginOptions {
  core::SocketAddress remote;  // after trusted proxies
  // `Derp-Fast-Start: 1` was asked for, or the bytes travel inside WebSocket: no
  // "101 Switching Protocols" comes from here.
  bool fast_start = false;
  bool not_ideal = false;  // the request had an Ideal-Node header
  bool over_tls = false;   // to us, or to a trusted proxy: else no mesh rights
};

class ServerLogin {
 public:
  // kAsk: the client is who it says; Admit it or close the connection. Bytes that
  // come meanwhile may be fed; the owner bounds them.
  enum class Status : std::uint8_t { kNeedMore, kAsk, kDone };

  ServerLogin(const LoginContext& context, const LoginOptions& options);

  // The first bytes to send: the 101 response unless fast start, and ServerKey.
  std::string Start();
  // Bytes of the client. kDone: hand the client over, with TakeOutput().
  // Errors: kInvalid (not a login), kPermission (not admitted). Nothing is sent
  // to the client in either case; close the connection.
  core::Result<Status> Feed(core::Bytes bytes);
  // After kAsk: who asks. Admit makes it kDone.
  [[nodiscard]] const core::NodePublic& key() const { return client_.key; }
  void Admit() { status_ = Status::kDone; }
  // ServerInfo, after kDone.
  std::string TakeOutput();
  // After kDone: all of the client but the descriptor and what TLS keeps. Bytes
  // that followed ClientInfo are in `plaintext`.
  LoggedInClient TakeClient();

 private:
  core::Result<Status> OnClientInfo(core::Bytes payload);

  const LoginContext& context_;
  LoginOptions options_;
  std::vector<std::uint8_t> received_;
  LoginFrameReader reader_;
  std::string output_;
  LoggedInClient client_;
  Status status_ = Status::kNeedMore;
};

}  // namespace ringscale::relay
