#include "relay/login/server_login.h"

#include <sodium.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/base/hex.h"
#include "core/crypto/box.h"
#include "relay/wire/frame_writer.h"

namespace ringscale::relay {
namespace {

bool GrantsMesh(const std::optional<MeshKey>& ours, const std::optional<MeshKey>& theirs) {
  if (!ours || !theirs) return false;
  return sodium_is_zero(ours->data(), ours->size()) == 0 &&
         sodium_memcmp(ours->data(), theirs->data(), ours->size()) == 0;
}

}  // namespace

ServerLogin::ServerLogin(const LoginContext& context, const LoginOptions& options)
    : context_(context), options_(options) {}

std::string ServerLogin::Start() {
  std::string out;
  if (!options_.fast_start) {
    out =
        "HTTP/1.1 101 Switching Protocols\r\n"
        "Upgrade: DERP\r\n"
        "Connection: Upgrade\r\n"
        "Derp-Version: " +
        std::to_string(kProtocolVersion) +
        "\r\n"
        "Derp-Public-Key: " +
        core::HexEncode(context_.server_public) + "\r\n\r\n";
  }
  std::uint8_t frame[kServerKeyFrameBytes];
  const std::size_t size = WriteServerKey(frame, context_.server_public);
  out.append(reinterpret_cast<const char*>(frame), size);
  return out;
}

core::Result<ServerLogin::Status> ServerLogin::Feed(core::Bytes bytes) {
  if (status_ != Status::kNeedMore) {
    client_.plaintext.insert(client_.plaintext.end(), bytes.begin(), bytes.end());
    return status_;
  }
  received_.insert(received_.end(), bytes.begin(), bytes.end());
  const LoginFrameReader::Step step = reader_.Next(received_);
  switch (step.status) {
    case LoginFrameReader::Status::kNeedMore:
      return Status::kNeedMore;
    case LoginFrameReader::Status::kBadLength:
      return core::Fail(core::ErrorCode::kInvalid,
                        step.frame.type == FrameType::kClientInfo
                            ? "ClientInfo of a length that cannot be right"
                            : "the first frame is not ClientInfo");
    case LoginFrameReader::Status::kFrame:
      break;
  }
  auto result = OnClientInfo(step.frame.payload());
  if (!result) return result;
  client_.plaintext.assign(received_.begin() + static_cast<std::ptrdiff_t>(step.consumed),
                           received_.end());
  received_.clear();
  received_.shrink_to_fit();
  status_ = *result;
  return result;
}

core::Result<ServerLogin::Status> ServerLogin::OnClientInfo(core::Bytes payload) {
  core::NodePublic key;
  std::copy_n(payload.begin(), key.raw.size(), key.raw.begin());
  if (key.zero()) return core::Fail(core::ErrorCode::kInvalid, "ClientInfo names the zero key");
  const auto json = core::OpenBox(context_.server_key, key.raw, payload.subspan(kKeyBytes));
  if (!json) {
    return core::Fail(core::ErrorCode::kInvalid,
                      "ClientInfo was not sealed for this server by the key it names");
  }
  auto info = ParseClientInfo(*json);
  if (!info) return core::Forward(info);

  client_.can_mesh = options_.over_tls && GrantsMesh(context_.mesh_key, info->mesh_key);
  const bool ask = context_.ask && !client_.can_mesh;
  if (!ask && !client_.can_mesh && !context_.admission.Allows(key, options_.remote)) {
    return core::Fail(core::ErrorCode::kPermission,
                      "the node key " + key.text() + " is not admitted to this relay");
  }
  const auto sealed = core::SealBox(context_.server_key, key.raw, R"({"version":2})");
  if (!sealed) return core::Fail(core::ErrorCode::kInvalid, "ClientInfo names a weak key");
  std::uint8_t header[kHeaderBytes];
  WriteHeader(header, FrameType::kServerInfo, static_cast<std::uint32_t>(sealed->size()));
  output_.assign(reinterpret_cast<const char*>(header), sizeof(header));
  output_ += *sealed;

  client_.key = key;
  client_.remote = options_.remote;
  client_.can_ack_pings = info->can_ack_pings;
  client_.is_prober = info->is_prober;
  client_.not_ideal = options_.not_ideal;
  client_.protocol_version =
      static_cast<std::uint32_t>(std::clamp<std::int64_t>(info->version, 0, 0xffff));
  return ask ? Status::kAsk : Status::kDone;
}

std::string ServerLogin::TakeOutput() {
  return std::exchange(output_, {});
}

LoggedInClient ServerLogin::TakeClient() {
  return std::move(client_);
}

}  // namespace ringscale::relay
