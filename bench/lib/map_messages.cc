#include "bench/lib/map_messages.h"

#include <zstd.h>

#include <algorithm>
#include <memory>

#include "core/base/bytes.h"

namespace ringscale::bench {

void MapMessageReader::Feed(std::string_view bytes, const Wanted& wanted, const Sink& sink) {
  while (!bytes.empty()) {
    if (missing_ == 0) {
      const std::size_t taken = std::min(kPrefix - prefix_.size(), bytes.size());
      prefix_ += bytes.substr(0, taken);
      bytes.remove_prefix(taken);
      if (prefix_.size() < kPrefix) return;
      size_ = missing_ = core::LoadLe32(core::AsBytes(prefix_).data());
      prefix_.clear();
      wanted_ = wanted(size_);
      if (size_ == 0) sink(0, {});
      continue;
    }
    const std::string_view part = bytes.substr(0, missing_);
    bytes.remove_prefix(part.size());
    missing_ -= part.size();
    if (!wanted_) {
      if (missing_ == 0) sink(size_, {});
    } else if (message_.empty() && missing_ == 0) {
      sink(size_, part);  // it came in one piece: no copy
    } else {
      message_ += part;
      if (missing_ > 0) continue;
      sink(size_, message_);
      std::string().swap(message_);
    }
  }
}

core::Result<std::string> DecompressMessage(std::string_view message) {
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(),
                                                                     &ZSTD_freeDCtx);
  std::string text;
  std::string piece(ZSTD_DStreamOutSize(), '\0');
  ZSTD_inBuffer in{message.data(), message.size(), 0};
  std::size_t status = 1;
  while (in.pos < in.size || status != 0) {
    ZSTD_outBuffer out{piece.data(), piece.size(), 0};
    const std::size_t before = in.pos;
    status = ZSTD_decompressStream(context.get(), &out, &in);
    if (ZSTD_isError(status) != 0) {
      return core::Fail(core::ErrorCode::kCorrupt,
                        std::string("map message: ") + ZSTD_getErrorName(status));
    }
    if (in.pos == before && out.pos == 0) {
      return core::Fail(core::ErrorCode::kCorrupt, "map message: ends inside a frame");
    }
    text.append(piece.data(), out.pos);
  }
  return text;
}

}  // namespace ringscale::bench
