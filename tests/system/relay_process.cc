#include "tests/system/relay_process.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <utility>

#include "core/net/listener.h"
#include "core/net/socket_options.h"
#include "tests/system/child_process.h"

namespace ringscale::tests {

RelayProcess::RelayProcess(std::string folder, std::size_t descriptors)
    : folder_(std::move(folder)) {
  auto clients =
      core::net::OpenTcpListener({{.ip = *core::IpAddress::Parse("127.0.0.1"), .port = 0}});
  if (!clients) return;  // Running fails then
  clients_ = std::move(*clients);
  const std::string config = folder_ + "/ringscale.toml";
  std::ofstream(config) << "[metrics]\nlisten = \"\"\n"
                           "[derp]\nhost = \"127.0.0.1\"\nstun_listen = []\n"
                           "[relay]\nhttp_listen = \"\"\n"
                           "[engine]\nrelay_shards = 1\n"
                           "[limits]\nconnections_per_source = 0\n";
  const std::string data = folder_ + "/data";
  const std::string binary = Binary();
  pid_ = fork();
  if (pid_ != 0) return;
  LogTo(folder_ + "/relay.log");
  GiveSockets({clients_.get()});
  if (descriptors != 0) {
    const rlimit limit{.rlim_cur = descriptors, .rlim_max = descriptors};
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  execl(binary.c_str(), binary.c_str(), "relay", "--config", config.c_str(), "--data-dir",
        data.c_str(), nullptr);
  _exit(127);
}

RelayProcess::~RelayProcess() {
  if (pid_ <= 0) return;
  kill(pid_, SIGTERM);
  WaitForEnd(pid_);
}

bench::RelayTarget RelayProcess::target() const {
  return {.name = "relay",
          .tls = true,
          .host = "127.0.0.1",
          .server_name = "127.0.0.1",
          .address = core::net::LocalAddress(clients_.get()),
          .pid = pid_};
}

core::Result<> RelayProcess::Running() {
  if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == 0) return {};
  pid_ = -1;
  return core::Fail(core::ErrorCode::kUnavailable, "the relay ended:\n" + LogTail());
}

std::string RelayProcess::LogTail() const {
  return TailOf(folder_ + "/relay.log");
}

}  // namespace ringscale::tests
