// The messages of a map stream on the client's side: cut by their length prefix,
// decompressed when somebody wants to know what is in them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace ringscale::bench {

// Cuts the bytes of one stream into messages: 4 bytes of length, little endian,
// then that many bytes.
class MapMessageReader {
 public:
  // Asked once a message is announced: whether it is to be kept whole.
  using Wanted = std::function<bool(std::size_t size)>;
  // A whole message, or an empty view where it was not wanted.
  using Sink = std::function<void(std::size_t size, std::string_view message)>;

  // `bytes` are valid during the call only; so are the messages.
  void Feed(std::string_view bytes, const Wanted& wanted, const Sink& sink);
  void Reset() { *this = {}; }

 private:
  static constexpr std::size_t kPrefix = 4;
  std::string prefix_;  // incomplete
  std::string message_;
  std::size_t size_ = 0;
  std::size_t missing_ = 0;  // of the message under way
  bool wanted_ = false;
};

// A message is one or several zstd frames in a row.
core::Result<std::string> DecompressMessage(std::string_view message);

}  // namespace ringscale::bench
