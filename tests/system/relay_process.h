// "ringscale relay" as a child process, with one shard and nothing else listening.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>

#include "bench/lib/relay_target.h"
#include "core/base/fd.h"
#include "core/base/result.h"

namespace ringscale::tests {

class RelayProcess {
 public:
  // `folder` exists and gets data, configuration and log. The test opens the socket,
  // so that clients may dial from the start. `descriptors`: how many it may have
  // open, 0: as many as this process.
  explicit RelayProcess(std::string folder, std::size_t descriptors = 0);
  ~RelayProcess();  // ends it
  RelayProcess(const RelayProcess&) = delete;
  RelayProcess& operator=(const RelayProcess&) = delete;

  // DERP over TLS.
  [[nodiscard]] bench::RelayTarget target() const;
  [[nodiscard]] std::string url() const { return "derps://" + target().address.text(); }
  [[nodiscard]] pid_t pid() const { return pid_; }
  // It ended, which it should not have; with what it said.
  [[nodiscard]] core::Result<> Running();
  [[nodiscard]] std::string LogTail() const;

 private:
  const std::string folder_;
  core::Fd clients_;
  pid_t pid_ = -1;
};

}  // namespace ringscale::tests
