// Pieces of JSON in the form a client asked for: plain, or as one zstd frame per
// piece. A map message is a whole number of frames, so a frame made once can be
// part of the messages of many clients.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/slices.h"

struct ZSTD_CCtx_s;

namespace ringscale::control {

enum class Encoding : std::uint8_t { kPlain, kZstd };
inline constexpr std::size_t kEncodings = 2;

// The ways in which a peer is written for different viewers.
struct PeerForm {
  Encoding encoding = Encoding::kPlain;
  bool ipv6_only = false;  // without peers' IPv4 addresses
  [[nodiscard]] std::size_t index() const {
    return static_cast<std::size_t>(encoding) + (ipv6_only ? kEncodings : 0);
  }
};
inline constexpr std::size_t kPeerForms = 2 * kEncodings;

class Encoder {
 public:
  // Level 1: on map JSON its long-match search gives 155 bytes per peer against
  // 159 at level 3 and 157 at level 9 (short matches inside hexadecimal keys cost
  // more than they save), at 700 MB/s.
  explicit Encoder(int level = 1);
  ~Encoder();
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  void Append(Encoding encoding, std::string_view text, std::string& out);
  [[nodiscard]] core::SharedSlice Encode(Encoding encoding, std::string text);

  // zstd frames made so far.
  [[nodiscard]] std::uint64_t compressions() const { return compressions_; }
  [[nodiscard]] std::uint64_t compressed_bytes() const { return compressed_bytes_; }

 private:
  ZSTD_CCtx_s* context_;
  std::string scratch_;
  std::uint64_t compressions_ = 0;
  std::uint64_t compressed_bytes_ = 0;  // of input
};

}  // namespace ringscale::control
