// A response body that is produced when the connection can take it (pull), so
// that a slow client costs no queue.
#pragma once

#include <cstddef>

#include "core/base/slices.h"

namespace ringscale::core::http {

class BodySource {
 public:
  enum class Status : unsigned char {
    kMore,  // there may be more right away
    kWait,  // nothing more now; BodyWaker::Wake() will be called
    kEnd,   // that was the last byte
  };
  virtual ~BodySource() = default;
  // Appends up to `limit` bytes, at least one with kMore.
  virtual Status Pull(std::size_t limit, SliceList& out) = 0;
  // The peer reset the stream or the connection broke. The source is destroyed after.
  virtual void OnAborted() {}
};

// How a waiting source says that it has something.
class BodyWaker {
 public:
  virtual ~BodyWaker() = default;
  virtual void Wake() = 0;
  // Fetches what Wake needs beyond this object into the cache: for somebody who wakes
  // many in a row.
  virtual void Prefetch() const {}
};

}  // namespace ringscale::core::http
