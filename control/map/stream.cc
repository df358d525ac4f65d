#include "control/map/stream.h"

#include <algorithm>
#include <utility>

#include "control/map/map_service_impl.h"

namespace ringscale::control {

StreamImpl::StreamImpl(MapServiceImpl& service, NodeId node, const MapRequest& request,
                       ClientKind client, core::http::BodyWaker& waker)
    : service_(service),
      waker_(waker),
      encoding_(request.zstd ? Encoding::kZstd : Encoding::kPlain),
      keep_alive_(request.keep_alive),
      node_(node),
      node_key_(request.node_key),
      client_(std::move(client)) {
  service_.Register(*this);
}

StreamImpl::~StreamImpl() {
  service_.Unregister(*this);
}

void StreamImpl::OnAborted() {
  service_.Stop(*this);
}

void StreamImpl::Give(OutputPtr output) {
  output_ = std::move(output);
  slice_ = 0;
  offset_ = 0;
}

core::http::BodySource::Status StreamImpl::Pull(std::size_t limit, core::SliceList& out) {
  service_.OnPull(*this);
  if (phase_ == Phase::kEnded) return Status::kEnd;
  if (output_ == nullptr) {
    OutputPtr next = service_.NextOutput(*this);
    if (phase_ == Phase::kEnded) return Status::kEnd;
    if (next == nullptr) return Status::kWait;
    Give(std::move(next));
  }
  std::size_t taken = 0;
  while (slice_ < output_->slices.size() && taken < limit) {
    const core::SharedSlice& slice = output_->slices[slice_];
    const std::size_t size = std::min(slice.bytes.size() - offset_, limit - taken);
    if (size > 0) out.push_back({slice.owner, slice.bytes.substr(offset_, size)});
    taken += size;
    offset_ += size;
    if (offset_ == slice.bytes.size()) {
      ++slice_;
      offset_ = 0;
    }
  }
  const bool complete = slice_ == output_->slices.size();
  service_.OnTaken(*this, taken, complete);
  return complete && service_.HasNothingFor(*this) ? Status::kWait : Status::kMore;
}

}  // namespace ringscale::control
