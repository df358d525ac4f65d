#include "tests/system/child_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

namespace ringscale::tests {

std::string Binary() {
  const char* path = std::getenv("RINGSCALE_BINARY");
  return path != nullptr ? path : "build/dev/bin/ringscale";
}

int WaitForEnd(pid_t pid) {
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void LogTo(const std::string& path) {
  const int out = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  dup2(out, STDOUT_FILENO);
  dup2(out, STDERR_FILENO);
}

void GiveSockets(std::initializer_list<int> descriptors) {
  constexpr int kFirst = 3;
  constexpr int kOutOfTheWay = 100;
  std::vector<int> moved;
  for (const int fd : descriptors) moved.push_back(fcntl(fd, F_DUPFD_CLOEXEC, kOutOfTheWay));
  for (std::size_t i = 0; i < moved.size(); ++i) dup2(moved[i], kFirst + static_cast<int>(i));
  setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
  setenv("LISTEN_FDS", std::to_string(moved.size()).c_str(), 1);
}

std::string TailOf(const std::string& path) {
  constexpr std::size_t kTail = 4000;
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  const std::string all = text.str();
  return all.size() > kTail ? all.substr(all.size() - kTail) : all;
}

Finished RunLine(const std::string& line) {
  FILE* pipe = popen(line.c_str(), "r");
  if (pipe == nullptr) return {};
  Finished finished;
  char piece[4096];
  std::size_t n = 0;
  while ((n = fread(piece, 1, sizeof piece, pipe)) > 0) finished.output.append(piece, n);
  const int status = pclose(pipe);
  finished.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return finished;
}

}  // namespace ringscale::tests
