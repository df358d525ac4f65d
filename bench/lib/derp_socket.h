// A DERP client after its login, made for load: frames are built and sealed in
// memory that all sockets of a thread share, one TLS record a frame as the
// official clients write them, many frames a system call. Non-blocking.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "bench/lib/derp_login.h"
#include "bench/lib/relay_target.h"
#include "core/base/fd.h"
#include "core/crypto/keys.h"
#include "core/tls/aead.h"
#include "core/tls/records.h"
#include "relay/wire/frame_reader.h"
#include "relay/wire/frame_writer.h"

namespace ringscale::bench {

// What the sockets of one thread share.
struct SocketScratch {
  core::tls::AeadPool pool;
  std::vector<std::uint8_t> receive;
  std::vector<std::uint8_t> send;  // frames of the socket that is being written
  std::size_t send_size = 0;

  // `burst_bytes`: the most that is ever appended before a Flush.
  explicit SocketScratch(std::size_t burst_bytes)
      : receive(kReceive), send(burst_bytes + 4 * core::tls::kMaxRecord) {}
  static constexpr std::size_t kReceive = 512 * 1024;
};

class DerpSocket {
 public:
  enum class Io : std::uint8_t { kOk, kWouldBlock, kClosed };

  DerpSocket(core::Fd fd, core::NodePublic key, DerpLogin::Established established)
      : fd_(std::move(fd)),
        key_(key),
        tls_(std::move(established.tls)),
        cipher_left_(std::move(established.ciphertext)),
        plain_left_(std::move(established.plaintext)) {}

  // Connects and logs in, waiting for it; a limit of 15 s.
  static core::Result<std::unique_ptr<DerpSocket>> Connect(
      const RelayTarget& target, const std::shared_ptr<const core::tls::ClientContext>& tls,
      SocketScratch& scratch);

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const core::NodePublic& key() const { return key_; }

  // Takes what one receive yields and calls on_frame(const relay::FrameView&) for
  // every whole frame; the view is valid during the call. At most `most` bytes.
  template <class OnFrame>
  Io Receive(SocketScratch& scratch, OnFrame&& on_frame,
             std::size_t most = SocketScratch::kReceive);

  // --- sending: Append, Append, ..., Flush; while blocked() only Resume ---
  // The frame's payload is what fill(core::MutableBytes) writes.
  template <class Fill>
  void Append(SocketScratch& scratch, relay::FrameType type, std::size_t payload, Fill&& fill);
  // kWouldBlock: the rest is kept; nothing is lost.
  Io Flush(SocketScratch& scratch);
  Io Resume();
  [[nodiscard]] bool blocked() const { return !unsent_.empty(); }

 private:
  Io SendNow(const std::uint8_t* bytes, std::size_t size);
  // Opens the records in `bytes`, moves their plaintext together to `plain`, and
  // keeps what is no whole record yet. How much plaintext, or nothing when broken.
  bool OpenRecords(core::tls::AeadPool& pool, core::MutableBytes bytes, std::uint8_t* plain,
                   std::size_t& plain_size);

  core::Fd fd_;
  core::NodePublic key_;
  std::unique_ptr<core::tls::RecordKeys> tls_;  // null = plain
  std::vector<std::uint8_t> cipher_left_;
  std::vector<std::uint8_t> plain_left_;
  std::vector<std::uint8_t> unsent_;
  relay::ClientFrameReader reader_;
};

// One packet to `destination`; fill(core::MutableBytes) writes its `size` bytes.
template <class Fill>
void AppendPacket(DerpSocket& socket, SocketScratch& scratch, const core::NodePublic& destination,
                  std::size_t size, Fill&& fill) {
  socket.Append(scratch, relay::FrameType::kSendPacket, relay::kKeyBytes + size,
                [&](core::MutableBytes payload) {
                  std::memcpy(payload.data(), destination.raw.data(), relay::kKeyBytes);
                  fill(payload.subspan(relay::kKeyBytes));
                });
}

// The wire bytes of one packet of `size` bytes.
inline std::size_t PacketWireBytes(std::size_t size, bool tls) {
  return relay::kPacketFrameOverhead + size + (tls ? core::tls::kRecordOverhead : 0);
}

// --- the hot paths ---

template <class Fill>
void DerpSocket::Append(SocketScratch& scratch, relay::FrameType type, std::size_t payload,
                        Fill&& fill) {
  const std::size_t frame = relay::kHeaderBytes + payload;
  std::uint8_t* at = scratch.send.data() + scratch.send_size;
  if (tls_ != nullptr && core::tls::NeedsKeyUpdate(*tls_)) {
    const std::size_t size = core::tls::SealKeyUpdate(
        *tls_, scratch.pool, core::MutableBytes(scratch.send).subspan(scratch.send_size));
    scratch.send_size += size;
    at += size;
  }
  // Frames longer than a record are rare (64 KiB packets) and may be copied.
  const bool split = tls_ != nullptr && frame > core::tls::kMaxPlaintext;
  std::vector<std::uint8_t> whole(split ? frame : 0);
  std::uint8_t* text =
      split ? whole.data() : at + (tls_ != nullptr ? core::tls::kRecordHeaderSize : 0);
  relay::WriteHeader(text, type, static_cast<std::uint32_t>(payload));
  fill(core::MutableBytes(text + relay::kHeaderBytes, payload));
  if (tls_ == nullptr) {
    scratch.send_size += frame;
  } else if (split) {
    const core::Bytes pieces[] = {whole};
    scratch.send_size += core::tls::SealRecords(
        *tls_, scratch.pool, pieces, core::MutableBytes(scratch.send).subspan(scratch.send_size));
  } else {
    const std::size_t record = frame + core::tls::kRecordOverhead;
    if (core::tls::SealRecordInPlace(*tls_, scratch.pool, core::MutableBytes(at, record), frame)) {
      scratch.send_size += record;
    }
  }
}

template <class OnFrame>
DerpSocket::Io DerpSocket::Receive(SocketScratch& scratch, OnFrame&& on_frame, std::size_t most) {
  std::uint8_t* const plain = scratch.receive.data();
  std::size_t plain_size = plain_left_.size();
  if (plain_size != 0) std::memcpy(plain, plain_left_.data(), plain_size);
  std::uint8_t* const cipher = plain + plain_size;
  const std::size_t kept = cipher_left_.size();
  if (kept != 0) std::memcpy(cipher, cipher_left_.data(), kept);
  const std::size_t room = std::min(most, scratch.receive.size() - plain_size - kept);
  const ssize_t got = ::recv(fd_.get(), cipher + kept, room, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return Io::kWouldBlock;
  if (got <= 0) return Io::kClosed;
  const core::MutableBytes bytes(cipher, kept + static_cast<std::size_t>(got));
  if (tls_ == nullptr) {
    plain_size += bytes.size();
  } else if (!OpenRecords(scratch.pool, bytes, plain, plain_size)) {
    return Io::kClosed;
  }
  core::MutableBytes rest(plain, plain_size);
  for (;;) {
    const auto step = reader_.Next(rest);
    rest = rest.subspan(step.consumed);
    if (step.status == relay::ClientFrameReader::Status::kBadLength) return Io::kClosed;
    if (step.status == relay::ClientFrameReader::Status::kNeedMore) break;
    on_frame(step.frame);
  }
  plain_left_.assign(rest.begin(), rest.end());
  return Io::kOk;
}

}  // namespace ringscale::bench
