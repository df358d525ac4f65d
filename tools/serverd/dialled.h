// A TCP connection that a thread which may wait has made.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/fd.h"
#include "core/base/result.h"
#include "core/base/time.h"

namespace ringscale::serverd {

// Everything on it ends at the deadline.
class Dialled {
 public:
  // `host` is a name (looked up, which may take its time) or an address.
  static core::Result<Dialled> Connect(const std::string& host, std::uint16_t port,
                                       core::Instant deadline);

  core::Result<> Write(std::string_view bytes);
  // Some bytes; empty at the end of the stream.
  core::Result<std::string> Read();

  [[nodiscard]] int fd() const { return fd_.get(); }
  core::Fd TakeFd() { return std::move(fd_); }

 private:
  Dialled(core::Fd fd, core::Instant deadline) : fd_(std::move(fd)), deadline_(deadline) {}
  [[nodiscard]] bool Wait(short events) const;

  core::Fd fd_;
  core::Instant deadline_;
};

}  // namespace ringscale::serverd
