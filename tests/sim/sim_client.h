// A DERP client of the simulation: past its login, plain or with TLS records, as
// slow as it is told to be.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/crypto/keys.h"
#include "core/tls/aead.h"
#include "core/tls/key_schedule.h"
#include "core/tls/record_keys.h"
#include "core/tls/records.h"
#include "relay/app/ports.h"
#include "relay/wire/frame_reader.h"
#include "relay/wire/frame_writer.h"
#include "tests/sim/sim_net.h"

namespace ringscale::sim {

using Frame = std::vector<std::uint8_t>;

inline Frame MakeFrame(relay::FrameType type, core::Bytes payload) {
  Frame frame(relay::kHeaderBytes);
  relay::WriteHeader(frame.data(), type, static_cast<std::uint32_t>(payload.size()));
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

inline Frame SendPacketFrame(const core::NodePublic& to, core::Bytes packet) {
  Frame payload(to.raw.begin(), to.raw.end());
  payload.insert(payload.end(), packet.begin(), packet.end());
  return MakeFrame(relay::FrameType::kSendPacket, payload);
}

inline Frame KeyFrame(relay::FrameType type, const core::NodePublic& key) {
  return MakeFrame(type, key.raw);
}

// The keys of both ends of a connection whose handshake is over.
struct TlsPair {
  std::unique_ptr<core::tls::RecordKeys> server = std::make_unique<core::tls::RecordKeys>();
  std::unique_ptr<core::tls::RecordKeys> client = std::make_unique<core::tls::RecordKeys>();
};

inline constexpr std::uint32_t kAllSuites = 3;
inline constexpr std::uint32_t kGcmSuites = 2;  // the first of them

inline TlsPair MakeTlsPair(Rng& rng, std::uint32_t suites = kAllSuites) {
  TlsPair pair;
  const auto suite = static_cast<core::tls::Suite>(rng.Below(suites));
  std::array<std::uint8_t, 48> up{};
  std::array<std::uint8_t, 48> down{};
  for (auto& byte : up) byte = static_cast<std::uint8_t>(rng.Next());
  for (auto& byte : down) byte = static_cast<std::uint8_t>(rng.Next());
  const std::size_t size = core::tls::SecretSize(suite);
  pair.server->suite = pair.client->suite = suite;
  pair.client->client = true;
  const core::Bytes up_secret(up.data(), size);
  const core::Bytes down_secret(down.data(), size);
  if (!core::tls::InstallTrafficSecret(suite, up_secret, pair.server->receive) ||
      !core::tls::InstallTrafficSecret(suite, up_secret, pair.client->send) ||
      !core::tls::InstallTrafficSecret(suite, down_secret, pair.server->send) ||
      !core::tls::InstallTrafficSecret(suite, down_secret, pair.client->receive)) {
    std::abort();
  }
  return pair;
}

// What any peer of a relay may get: clients, and other relays packets to pass on.
struct SimSide {
  static constexpr relay::FrameLimits Limits(relay::FrameType type) {
    if (type == relay::FrameType::kForwardPacket) return {true, 0, relay::kMaxInfoBytes};
    return relay::ClientSide::Limits(type);
  }
};

class SimClient {
 public:
  SimClient(SimSocket& socket, const core::NodePublic& key,
            std::unique_ptr<core::tls::RecordKeys> tls)
      : socket_(&socket), key_(key), tls_(std::move(tls)) {}

  [[nodiscard]] const core::NodePublic& key() const { return key_; }
  [[nodiscard]] SimSocket& socket() { return *socket_; }
  [[nodiscard]] bool tls() const { return tls_ != nullptr; }
  // The server has closed the connection (or it broke) and all was read.
  [[nodiscard]] bool closed() const {
    return socket_->broken || (socket_->server_closed && socket_->outbound.empty());
  }
  [[nodiscard]] bool got_close_notify() const { return got_close_notify_; }
  // The server sent something that no server sends: the reason.
  [[nodiscard]] const std::string& complaint() const { return complaint_; }

  // Hands bytes to the network, with TLS in one record per 16 KiB.
  void Send(core::Bytes bytes, core::tls::AeadPool& pool) {
    if (tls_ == nullptr) return SendRaw(bytes);
    while (!bytes.empty()) {
      const core::Bytes part = bytes.first(std::min<std::size_t>(bytes.size(), 16384));
      std::vector<std::uint8_t> out(core::tls::SealedSize(*tls_, part.size()));
      const core::Bytes pieces[] = {part};
      out.resize(core::tls::SealRecords(*tls_, pool, pieces, out));
      SendRaw(out);
      bytes = bytes.subspan(part.size());
    }
  }
  void SendRaw(core::Bytes bytes) {
    if (socket_->broken || socket_->inbound_ended) return;
    socket_->inbound.insert(socket_->inbound.end(), bytes.begin(), bytes.end());
  }
  void SendKeyUpdate(core::tls::AeadPool& pool, bool ask) {
    std::array<std::uint8_t, 64> out;
    const std::size_t size = core::tls::SealKeyUpdate(*tls_, pool, out, ask);
    SendRaw(core::Bytes(out).first(size));
  }
  void SendCloseNotify(core::tls::AeadPool& pool) {
    std::array<std::uint8_t, 64> out;
    const std::size_t size = core::tls::SealAlert(*tls_, pool, core::tls::Alert::kCloseNotify, out);
    SendRaw(core::Bytes(out).first(size));
  }
  void Close() { socket_->inbound_ended = true; }
  void Reset() {
    socket_->broken = true;
    socket_->outbound.clear();
  }

  // Takes up to `limit` bytes from the network; whole frames go to frames().
  void Read(std::size_t limit, core::tls::AeadPool& pool) {
    const std::size_t size = std::min(limit, socket_->outbound.size());
    if (size == 0) return;
    const auto end = socket_->outbound.begin() + static_cast<std::ptrdiff_t>(size);
    auto& into = tls_ != nullptr ? ciphertext_ : plaintext_;
    into.insert(into.end(), socket_->outbound.begin(), end);
    socket_->outbound.erase(socket_->outbound.begin(), end);
    if (tls_ != nullptr) OpenRecords(pool);
    ReadFrames();
  }
  std::deque<Frame>& frames() { return frames_; }

 private:
  void OpenRecords(core::tls::AeadPool& pool) {
    using Kind = core::tls::RecordEvent::Kind;
    std::size_t done = 0;
    while (complaint_.empty()) {
      const core::MutableBytes rest = core::MutableBytes(ciphertext_).subspan(done);
      const core::tls::RecordEvent event = core::tls::RecordReader::Next(*tls_, pool, rest);
      if (event.kind == Kind::kNeedMore) break;
      if (event.kind == Kind::kData) {
        plaintext_.insert(plaintext_.end(), event.data.begin(), event.data.end());
      } else if (event.kind == Kind::kClosed) {
        got_close_notify_ = true;
      } else if (event.kind == Kind::kFatal) {
        complaint_ = std::string("TLS: ") + event.reason;
      }
      done += event.consumed;
    }
    ciphertext_.erase(ciphertext_.begin(), ciphertext_.begin() + static_cast<std::ptrdiff_t>(done));
  }

  void ReadFrames() {
    std::size_t done = 0;
    for (;;) {
      const auto step = reader_.Next(core::MutableBytes(plaintext_).subspan(done));
      done += step.consumed;
      if (step.skipped_frames != 0) complaint_ = "a frame of a type that servers do not send";
      if (step.status != Reader::Status::kFrame) {
        if (step.status == Reader::Status::kBadLength) {
          complaint_ = "a frame of a wrong length";
        }
        break;
      }
      frames_.emplace_back(step.frame.frame.begin(), step.frame.frame.end());
    }
    plaintext_.erase(plaintext_.begin(), plaintext_.begin() + static_cast<std::ptrdiff_t>(done));
  }

  SimSocket* socket_;
  core::NodePublic key_;
  std::unique_ptr<core::tls::RecordKeys> tls_;
  std::vector<std::uint8_t> ciphertext_;
  std::vector<std::uint8_t> plaintext_;
  using Reader = relay::FrameReader<SimSide>;
  Reader reader_;
  std::deque<Frame> frames_;
  bool got_close_notify_ = false;
  std::string complaint_;
};

}  // namespace ringscale::sim
