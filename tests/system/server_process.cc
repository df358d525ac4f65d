#include "tests/system/server_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "bench/lib/control_node.h"
#include "core/base/fd.h"

namespace ringscale::tests {
namespace {

std::string Binary() {
  const char* path = std::getenv("RINGSCALE_BINARY");
  return path != nullptr ? path : "build/dev/bin/ringscale";
}

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

ServerProcess::ServerProcess(std::string folder) : folder_(std::move(folder)) {
  address_ = {.ip = *core::IpAddress::Parse("127.0.0.1"), .port = FreePort()};
  std::ofstream config(folder_ + "/ringscale.toml");
  config << "listen = [\"" << address_.text() << "\"]\n"
         << "[metrics]\nlisten = \"\"\n"
         << "[derp]\nenabled = false\n";
}

ServerProcess::~ServerProcess() {
  if (pid_ > 0) KillNine();
}

core::Result<> ServerProcess::Start() {
  const std::string binary = Binary();
  const std::string config = folder_ + "/ringscale.toml";
  const std::string data = folder_ + "/data";
  const std::string log = folder_ + "/server.log";
  pid_ = fork();
  if (pid_ < 0) return core::FailErrno("fork", errno);
  if (pid_ == 0) {
    const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execl(binary.c_str(), binary.c_str(), "serve", "--config", config.c_str(), "--data-dir",
          data.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  for (int tries = 0; tries < 2000; ++tries) {
    if (bench::FetchServerKey(address_, host())) return {};
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
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

int ServerProcess::Terminate() {
  kill(pid_, SIGTERM);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

core::Result<std::string> ServerProcess::Command(const std::string& arguments) const {
  const std::string line = Binary() + " --config " + folder_ + "/ringscale.toml --data-dir " +
                           folder_ + "/data " + arguments + " 2>&1";
  FILE* pipe = popen(line.c_str(), "r");
  if (pipe == nullptr) return core::FailErrno("popen", errno);
  std::string output;
  char piece[4096];
  std::size_t n = 0;
  while ((n = fread(piece, 1, sizeof piece, pipe)) > 0) output.append(piece, n);
  const int status = pclose(pipe);
  if (status != 0) return core::Fail(core::ErrorCode::kInternal, line + ": " + output);
  return output;
}

std::string ServerProcess::LogTail() const {
  std::ifstream in(folder_ + "/server.log");
  std::stringstream text;
  text << in.rdbuf();
  const std::string all = text.str();
  return all.size() > 4000 ? all.substr(all.size() - 4000) : all;
}

}  // namespace ringscale::tests
