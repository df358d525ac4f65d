// ringscale-bench as a child process.
#pragma once

#include <string>

namespace ringscale::tests {

struct Finished {
  int status = -1;
  std::string output;  // of both streams, so that an error can be read here
};

// Runs the generator that lies beside the server's binary to its end.
Finished RunBench(const std::string& arguments);

}  // namespace ringscale::tests
