#include "tools/serverd/front/heap_trim.h"

#include <malloc.h>

#include <utility>

namespace ringscale::serverd {
namespace {

constexpr std::size_t kQuietShare = 8;

}  // namespace

HeapTrim::HeapTrim(core::engine::Loop& loop, const Limits& limits, std::function<void()> trim)
    : loop_(loop), limits_(limits), trim_(std::move(trim)) {}

HeapTrim::~HeapTrim() {
  if (armed_) loop_.CancelTimer(timer_);
}

void HeapTrim::Count() {
  ++count_;
  if (count_ >= limits_.storm && !armed_) Arm();
}

void HeapTrim::Arm() {
  armed_ = true;
  seen_ = count_;
  timer_ = loop_.After(limits_.quiet, [this] {
    armed_ = false;
    if (count_ - seen_ >= limits_.storm / kQuietShare) {
      Arm();
      return;
    }
    count_ = 0;
    trim_();
  });
}

void TrimHeap() {
  malloc_trim(0);
}

}  // namespace ringscale::serverd
