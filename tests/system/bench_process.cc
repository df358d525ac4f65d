#include "tests/system/bench_process.h"

namespace ringscale::tests {

Finished RunBench(const std::string& arguments) {
  return RunLine(Binary() + "-bench " + arguments + " 2>&1");
}

}  // namespace ringscale::tests
