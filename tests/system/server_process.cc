#include "tests/system/server_process.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <utility>

#include "bench/lib/control_node.h"
#include "core/net/listener.h"
#include "core/net/socket_options.h"
#include "tests/system/child_process.h"

namespace ringscale::tests {
namespace {

// A port that was free a moment ago, below the range that outgoing connections use:
// a client that dials a server which is down could be given that very port as its
// own, connect to itself and keep the server from coming back.
std::uint16_t FreePort() {
  for (std::uint32_t i = 0; i < 10'000; ++i) {
    const auto port = static_cast<std::uint16_t>(
        20'000 + (static_cast<std::uint32_t>(getpid()) * 7 + i) % 10'000);
    const core::Fd fd(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return port;
  }
  return 0;
}

}  // namespace

ServerProcess::ServerProcess(std::string folder, Sockets sockets) : folder_(std::move(folder)) {
  const auto loopback = *core::IpAddress::Parse("127.0.0.1");
  const std::string command_path = folder_ + "/ringscale.sock";
  if (sockets == Sockets::kGiven) {
    auto clients = core::net::OpenTcpListener({{.ip = loopback, .port = 0}});
    auto commands = core::net::UnixListener::Open(command_path, {});
    if (!clients || !commands) return;  // Start fails then
    clients_ = std::move(*clients);
    commands_ = std::move(*commands);
    address_ = core::net::LocalAddress(clients_.get());
  } else {
    address_ = {.ip = loopback, .port = FreePort()};
  }
  std::ofstream config(folder_ + "/ringscale.toml");
  config << "listen = [\"" << address_.text() << "\"]\n"
         << "[unix_socket]\npath = \"" << command_path << "\"\n"
         << "[metrics]\nlisten = \"\"\n"
         << "[derp]\nenabled = false\n"
         << "[limits]\nconnections_per_source = 0\n";
}

ServerProcess::~ServerProcess() {
  if (pid_ > 0) KillNine();
}

pid_t ServerProcess::Launch(bool take_over) const {
  const std::string binary = Binary();
  const std::string config = folder_ + "/ringscale.toml";
  const std::string data = folder_ + "/data";
  const std::string log = folder_ + "/server.log";
  const pid_t pid = fork();
  if (pid != 0) return pid;
  LogTo(log);
  if (commands_ && !take_over) GiveSockets({clients_.get(), commands_->fd()});
  execl(binary.c_str(), binary.c_str(), "serve", "--config", config.c_str(), "--data-dir",
        data.c_str(), take_over ? "--take-over" : nullptr, nullptr);
  _exit(127);
}

core::Result<> ServerProcess::Start() {
  pid_ = Launch(false);
  if (pid_ < 0) return core::FailErrno("fork", errno);
  return WaitReady();
}

core::Result<int> ServerProcess::Replace() {
  const pid_t old_pid = pid_;
  pid_ = Launch(true);
  if (pid_ < 0) return core::FailErrno("fork", errno);
  const int status = WaitForEnd(old_pid);
  if (auto ready = WaitReady(); !ready) return core::Forward(ready);
  return status;
}

core::Result<> ServerProcess::WaitReady() {
  for (int tries = 0; tries < 2000; ++tries) {
    if (bench::FetchServerKey({.address = address_, .host = host()})) return {};
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return core::Fail(
          core::ErrorCode::kUnavailable,
          "the server ended with wait status " + std::to_string(status) + ":\n" + LogTail());
    }
    poll(nullptr, 0, 5);
  }
  return core::Fail(core::ErrorCode::kTimeout, "the server does not answer:\n" + LogTail());
}

void ServerProcess::KillNine() {
  kill(pid_, SIGKILL);
  WaitForEnd(std::exchange(pid_, -1));
}

int ServerProcess::Terminate() {
  kill(pid_, SIGTERM);
  return WaitForEnd(std::exchange(pid_, -1));
}

core::Result<std::string> ServerProcess::Command(const std::string& arguments) const {
  const std::string line = Binary() + " --config " + folder_ + "/ringscale.toml --data-dir " +
                           folder_ + "/data " + arguments + " 2>&1";
  const Finished finished = RunLine(line);
  if (finished.status != 0) {
    return core::Fail(core::ErrorCode::kInternal, line + ": " + finished.output);
  }
  return finished.output;
}

std::string ServerProcess::LogTail() const {
  return TailOf(folder_ + "/server.log");
}

}  // namespace ringscale::tests
