#include "control/map/encoder.h"

#include <zstd.h>

#include <new>
#include <utility>

namespace ringscale::control {
namespace {

constexpr std::size_t kMaxScratch = 1024 * 1024;

}  // namespace

Encoder::Encoder(int level) : context_(ZSTD_createCCtx()) {
  if (context_ == nullptr) throw std::bad_alloc();
  ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setParameter(context_, ZSTD_c_contentSizeFlag, 1);
  ZSTD_CCtx_setParameter(context_, ZSTD_c_checksumFlag, 0);
}

Encoder::~Encoder() {
  ZSTD_freeCCtx(context_);
}

void Encoder::Append(Encoding encoding, std::string_view text, std::string& out) {
  if (encoding == Encoding::kPlain) {
    out += text;
    return;
  }
  const std::size_t bound = ZSTD_compressBound(text.size());
  if (scratch_.size() < bound) scratch_.resize(bound);
  const std::size_t size =
      ZSTD_compress2(context_, scratch_.data(), scratch_.size(), text.data(), text.size());
  // With room for the bound the only failure is running out of memory.
  if (ZSTD_isError(size) != 0) throw std::bad_alloc();
  out.append(scratch_, 0, size);
  if (scratch_.size() > kMaxScratch) scratch_ = {};
  ++compressions_;
  compressed_bytes_ += text.size();
}

core::SharedSlice Encoder::Encode(Encoding encoding, std::string text) {
  if (encoding == Encoding::kPlain) return core::SharedSlice::Own(std::move(text));
  std::string out;
  Append(encoding, text, out);
  return core::SharedSlice::Own(std::move(out));
}

}  // namespace ringscale::control
