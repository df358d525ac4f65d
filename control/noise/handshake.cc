#include <algorithm>
#include <string>
#include <utility>

#include "control/noise/session.h"
#include "control/noise/symmetric_state.h"
#include "core/crypto/secret_text.h"
#include "core/crypto/x25519.h"

namespace ringscale::control::noise {
namespace {

constexpr std::string_view kProtocolName = "Noise_IK_25519_ChaChaPoly_BLAKE2s";
constexpr std::string_view kPrologue = "Tailscale Control Protocol v";
constexpr std::uint8_t kInitiationType = 1;
constexpr std::uint8_t kResponseType = 2;
constexpr std::size_t kInitiationHeader = 5;  // version, type, length
constexpr std::size_t kResponseHeader = 3;    // type, length
constexpr std::size_t kKey = 32;
constexpr std::size_t kTag = 16;

std::string Prologue(std::uint16_t version) {
  return std::string(kPrologue) + std::to_string(version);
}

// Mixes X25519(ours, peer) in; false for a peer key of low order.
bool MixDh(SymmetricState& state, const core::PrivateKey& ours,
           const std::array<std::uint8_t, kKey>& peer) {
  auto secret = core::X25519(ours, peer);
  if (!secret) return false;
  state.MixKey(*secret);
  core::Wipe(*secret);
  return true;
}

std::unexpected<core::Error> HandshakeFailed() {
  return core::Fail(core::ErrorCode::kCorrupt,
                    "the Noise handshake failed: it was made for another server key, or damaged");
}

}  // namespace

core::Result<Accepted> Respond(const core::PrivateKey& server_key, core::Bytes initiation) {
  return Respond(server_key, initiation, core::PrivateKey::Generate());
}

core::Result<Accepted> Respond(const core::PrivateKey& server_key, core::Bytes initiation,
                               const core::PrivateKey& ephemeral) {
  if (initiation.size() != kInitiationSize) {
    return core::Fail(core::ErrorCode::kInvalid, "wrong handshake initiation size");
  }
  if (initiation[2] != kInitiationType) {
    return core::Fail(core::ErrorCode::kInvalid, "unexpected handshake message type");
  }
  if (core::LoadBe16(&initiation[3]) != kInitiationSize - kInitiationHeader) {
    return core::Fail(core::ErrorCode::kInvalid, "wrong handshake initiation length");
  }
  const std::uint16_t version = core::LoadBe16(initiation.data());
  const core::Bytes client_ephemeral_bytes = initiation.subspan(kInitiationHeader, kKey);
  const core::Bytes sealed_static = initiation.subspan(kInitiationHeader + kKey, kKey + kTag);
  const core::Bytes sealed_payload = initiation.subspan(kInitiationSize - kTag, kTag);
  std::array<std::uint8_t, kKey> client_ephemeral{};
  std::ranges::copy(client_ephemeral_bytes, client_ephemeral.begin());

  SymmetricState state(kProtocolName, Prologue(version));
  state.MixHash(server_key.PublicRaw());

  // -> e, es, s, ss
  core::MachinePublic machine_key;
  state.MixHash(client_ephemeral);
  if (!MixDh(state, server_key, client_ephemeral) ||
      !state.DecryptAndHash(sealed_static, machine_key.raw) ||
      !MixDh(state, server_key, machine_key.raw) || !state.DecryptAndHash(sealed_payload, {})) {
    return HandshakeFailed();
  }

  // <- e, ee, se
  std::array<std::uint8_t, kResponseSize> response{};
  const std::array<std::uint8_t, kKey> ephemeral_public = ephemeral.PublicRaw();
  response[0] = kResponseType;
  core::StoreBe16(&response[1], kResponseSize - kResponseHeader);
  std::ranges::copy(ephemeral_public, response.begin() + kResponseHeader);
  state.MixHash(ephemeral_public);
  if (!MixDh(state, ephemeral, client_ephemeral) || !MixDh(state, ephemeral, machine_key.raw)) {
    return HandshakeFailed();
  }
  state.EncryptAndHash({}, core::MutableBytes(response).subspan(kResponseHeader + kKey, kTag));

  core::HkdfOutput keys = state.Split();
  Accepted accepted{Session(keys.first, keys.second), machine_key, version, response};
  core::Wipe(keys.first);
  core::Wipe(keys.second);
  return accepted;
}

Initiator::Initiator(core::PrivateKey machine_key, const core::MachinePublic& server_key,
                     std::uint16_t protocol_version)
    : Initiator(std::move(machine_key), server_key, protocol_version,
                core::PrivateKey::Generate()) {}

Initiator::Initiator(core::PrivateKey machine_key, const core::MachinePublic& server_key,
                     std::uint16_t protocol_version, core::PrivateKey ephemeral)
    : machine_(std::move(machine_key)), ephemeral_(std::move(ephemeral)) {
  core::StoreBe16(initiation_.data(), protocol_version);
  initiation_[2] = kInitiationType;
  core::StoreBe16(&initiation_[3], kInitiationSize - kInitiationHeader);
  const auto ephemeral_public = ephemeral_.PublicRaw();
  std::ranges::copy(ephemeral_public, initiation_.begin() + kInitiationHeader);

  SymmetricState state(kProtocolName, Prologue(protocol_version));
  state.MixHash(server_key.raw);
  state.MixHash(ephemeral_public);
  const core::MutableBytes message(initiation_);
  // A server key of low order fails in Finish: both sides would have to agree on
  // what the zero secret is, and no responder does.
  if (!MixDh(state, ephemeral_, server_key.raw)) return;
  state.EncryptAndHash(machine_.PublicRaw(),
                       message.subspan(kInitiationHeader + kKey, kKey + kTag));
  if (!MixDh(state, machine_, server_key.raw)) return;
  state.EncryptAndHash({}, message.last(kTag));
  hash_ = state.hash();
  chaining_ = state.chaining();
}

core::Result<Session> Initiator::Finish(core::Bytes response) {
  if (response.size() != kResponseSize || response[0] != kResponseType ||
      core::LoadBe16(&response[1]) != kResponseSize - kResponseHeader) {
    return core::Fail(core::ErrorCode::kInvalid, "malformed handshake response");
  }
  std::array<std::uint8_t, kKey> server_ephemeral{};
  std::ranges::copy(response.subspan(kResponseHeader, kKey), server_ephemeral.begin());
  SymmetricState state(hash_, chaining_);
  state.MixHash(server_ephemeral);
  if (!MixDh(state, ephemeral_, server_ephemeral) || !MixDh(state, machine_, server_ephemeral) ||
      !state.DecryptAndHash(response.last(kTag), {})) {
    return HandshakeFailed();
  }
  core::HkdfOutput keys = state.Split();
  Session session(keys.second, keys.first);
  core::Wipe(keys.first);
  core::Wipe(keys.second);
  return session;
}

}  // namespace ringscale::control::noise
