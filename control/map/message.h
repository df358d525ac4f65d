// One or more framed map messages as slices: length (4 bytes, little-endian),
// then the message in the client's encoding.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "control/map/encoder.h"
#include "control/state/types.h"
#include "core/base/slices.h"

namespace ringscale::control {

struct Output {
  core::SliceList slices;
  std::size_t bytes = 0;
};
using OutputPtr = std::shared_ptr<const Output>;

// Puts messages together from text of their own and shared pieces. Text added in
// a row becomes one frame.
class MessageBuilder {
 public:
  MessageBuilder(Encoder& encoder, Encoding encoding) : encoder_(encoder), encoding_(encoding) {}

  [[nodiscard]] Encoding encoding() const { return encoding_; }
  void Text(std::string_view text) { text_ += text; }
  // For writers that append.
  [[nodiscard]] std::string& text() { return text_; }
  void Shared(const core::SharedSlice& piece);
  // Finished messages of somebody else (keep-alives, shared deltas).
  void Append(const Output& finished);
  // Ends the message that was begun by the first Text or Shared.
  void EndMessage();
  [[nodiscard]] OutputPtr Take();

 private:
  void FlushText();

  Encoder& encoder_;
  Encoding encoding_;
  std::string text_;
  core::SliceList pieces_;  // of the message being built
  std::size_t piece_bytes_ = 0;
  Output output_;
};

// A message of one text.
[[nodiscard]] OutputPtr SingleMessage(Encoder& encoder, Encoding encoding, std::string_view text);

// What the client must hear from us in quiet times. The newline at its end matters:
// clients remember the compressed bytes of a bare {"KeepAlive":true} and may then
// take any later message of the same length for a keep-alive.
inline constexpr std::string_view kKeepAlive = "{\"KeepAlive\":true}\n";

}  // namespace ringscale::control
