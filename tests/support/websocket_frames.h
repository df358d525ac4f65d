// What a WebSocket client sends (RFC 6455 section 5.2).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ringscale::testing {

// `first`: the final bit and the opcode, 0x82 for a whole binary message.
inline std::string WebSocketFrame(std::uint8_t first, std::string_view payload,
                                  bool masked = true) {
  std::string frame(1, static_cast<char>(first));
  const std::uint8_t mask_bit = masked ? 0x80 : 0;
  int length_bytes = 0;
  if (payload.size() < 126) {
    frame += static_cast<char>(mask_bit | payload.size());
  } else {
    length_bytes = payload.size() < 65536 ? 2 : 8;
    frame += static_cast<char>(mask_bit | (length_bytes == 2 ? 126 : 127));
  }
  for (int i = length_bytes; i-- > 0;) frame += static_cast<char>(payload.size() >> (8 * i));
  const std::string_view mask = "\x11\x22\x33\x44";
  if (masked) frame += mask;
  for (std::size_t i = 0; i < payload.size(); ++i) {
    frame += masked ? static_cast<char>(payload[i] ^ mask[i % 4]) : payload[i];
  }
  return frame;
}

// The data of the server's messages in `wire`, which are whole.
inline std::string WebSocketData(std::string_view wire) {
  std::string data;
  while (wire.size() >= 2) {
    std::size_t size = static_cast<std::uint8_t>(wire[1]);
    std::size_t header = 2;
    if (size >= 126) {
      header += size == 126 ? 2 : 8;
      size = 0;
      for (std::size_t i = 2; i < header; ++i)
        size = size << 8 | static_cast<std::uint8_t>(wire[i]);
    }
    if (wire[0] == '\x82') data += wire.substr(header, size);
    wire.remove_prefix(std::min(wire.size(), header + size));
  }
  return data;
}

}  // namespace ringscale::testing
