#include "tests/system/bench_process.h"

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>

namespace ringscale::tests {

Finished RunBench(const std::string& arguments) {
  const char* server = std::getenv("RINGSCALE_BINARY");
  const std::string line = std::string(server != nullptr ? server : "build/dev/bin/ringscale") +
                           "-bench " + arguments + " 2>&1";
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
