// Takes what a map stream has, as a connection without limits would.
#pragma once

#include <cstddef>

#include "core/base/slices.h"
#include "core/http/body_source.h"

namespace ringscale::bench {

// Until there is nothing more for now; returns the bytes.
inline std::size_t Drain(core::http::BodySource& stream) {
  constexpr std::size_t kPiece = 16384;
  std::size_t bytes = 0;
  core::SliceList slices;
  while (stream.Pull(kPiece, slices) == core::http::BodySource::Status::kMore) {
    for (const core::SharedSlice& slice : slices) bytes += slice.bytes.size();
    slices.clear();
  }
  return bytes;
}

}  // namespace ringscale::bench
