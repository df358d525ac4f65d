#include "control/map/message.h"

#include <array>
#include <cstdint>
#include <utility>

#include "core/base/bytes.h"

namespace ringscale::control {
namespace {

constexpr std::size_t kPrefix = 4;

void StorePrefix(char* at, std::size_t size) {
  core::StoreLe32(reinterpret_cast<std::uint8_t*>(at), static_cast<std::uint32_t>(size));
}

core::SharedSlice Framed(Encoder& encoder, Encoding encoding, std::string_view text) {
  std::string framed(kPrefix, '\0');
  encoder.Append(encoding, text, framed);
  StorePrefix(framed.data(), framed.size() - kPrefix);
  return core::SharedSlice::Own(std::move(framed));
}

}  // namespace

void MessageBuilder::FlushText() {
  if (text_.empty()) return;
  core::SharedSlice piece = encoder_.Encode(encoding_, std::move(text_));
  text_.clear();
  piece_bytes_ += piece.bytes.size();
  pieces_.push_back(std::move(piece));
}

void MessageBuilder::Shared(const core::SharedSlice& piece) {
  FlushText();
  piece_bytes_ += piece.bytes.size();
  pieces_.push_back(piece);
}

void MessageBuilder::Append(const Output& finished) {
  output_.slices.insert(output_.slices.end(), finished.slices.begin(), finished.slices.end());
  output_.bytes += finished.bytes;
}

void MessageBuilder::EndMessage() {
  if (pieces_.empty()) {
    if (text_.empty()) return;
    output_.slices.push_back(Framed(encoder_, encoding_, text_));
    output_.bytes += output_.slices.back().bytes.size();
    text_.clear();
    return;
  }
  FlushText();
  std::string prefix(kPrefix, '\0');
  StorePrefix(prefix.data(), piece_bytes_);
  output_.slices.reserve(output_.slices.size() + pieces_.size() + 1);
  output_.slices.push_back(core::SharedSlice::Own(std::move(prefix)));
  for (core::SharedSlice& piece : pieces_) output_.slices.push_back(std::move(piece));
  output_.bytes += piece_bytes_ + kPrefix;
  pieces_.clear();
  piece_bytes_ = 0;
}

OutputPtr MessageBuilder::Take() {
  auto output = std::make_shared<const Output>(std::move(output_));
  output_ = {};
  return output;
}

OutputPtr SingleMessage(Encoder& encoder, Encoding encoding, std::string_view text) {
  Output output;
  output.slices.push_back(Framed(encoder, encoding, text));
  output.bytes = output.slices.back().bytes.size();
  return std::make_shared<const Output>(std::move(output));
}

}  // namespace ringscale::control
