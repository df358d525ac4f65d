// Noise IK as the control protocol uses it (tailscale.com/control/controlbase): the
// responder's handshake and the record layer. Sans-IO.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/crypto/keys.h"

namespace ringscale::control::noise {

inline constexpr std::size_t kInitiationSize = 101;
inline constexpr std::size_t kResponseSize = 51;
inline constexpr std::size_t kMaxRecord = 4096;     // with its 3-byte header
inline constexpr std::size_t kMaxPlaintext = 4077;  // of one record

// The transport state of one connection: two keys and two counters. Moves from
// front to control. Wiped when it goes.
class Session {
 public:
  Session(const std::array<std::uint8_t, 32>& receive_key,
          const std::array<std::uint8_t, 32>& send_key);
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  // Feeds bytes of the stream; appends the plaintext of every complete record to
  // `plaintext`. Keeps an incomplete record. Any error is fatal.
  core::Result<> Receive(core::Bytes bytes, std::string& plaintext);

  // How much Seal appends for pieces of `size` bytes together.
  [[nodiscard]] static std::size_t SealedSize(std::size_t size);
  // Appends records that carry the pieces, in order, to `out`.
  core::Result<> Seal(std::span<const std::string_view> pieces, std::string& out);

 private:
  core::Result<> Open(core::Bytes ciphertext, std::string& plaintext);

  struct Direction {
    std::array<std::uint8_t, 32> key{};
    std::uint64_t counter = 0;
  };
  Direction receive_;
  Direction send_;
  std::string partial_;
};

struct Accepted {
  Session session;
  core::MachinePublic machine_key;
  std::uint16_t protocol_version = 0;                  // the client's capability version
  std::array<std::uint8_t, kResponseSize> response{};  // to be sent first
};

// Answers an initiation (the 101 bytes of X-Tailscale-Handshake). `ephemeral` is
// passed in by tests only; production uses the overload without it.
core::Result<Accepted> Respond(const core::PrivateKey& server_key, core::Bytes initiation);
core::Result<Accepted> Respond(const core::PrivateKey& server_key, core::Bytes initiation,
                               const core::PrivateKey& ephemeral);

// The initiator's side, for tests, fuzzers and ringscale-bench.
class Initiator {
 public:
  Initiator(core::PrivateKey machine_key, const core::MachinePublic& server_key,
            std::uint16_t protocol_version);
  // With an ephemeral key of the caller: test vectors.
  Initiator(core::PrivateKey machine_key, const core::MachinePublic& server_key,
            std::uint16_t protocol_version, core::PrivateKey ephemeral);
  [[nodiscard]] const std::array<std::uint8_t, kInitiationSize>& initiation() const {
    return initiation_;
  }
  core::Result<Session> Finish(core::Bytes response);

 private:
  core::PrivateKey machine_;
  core::PrivateKey ephemeral_;
  std::array<std::uint8_t, 32> hash_{};
  std::array<std::uint8_t, 32> chaining_{};
  std::array<std::uint8_t, kInitiationSize> initiation_{};
};

}  // namespace ringscale::control::noise
