// ringscale-bench as a child process.
#pragma once

#include <string>

#include "tests/system/child_process.h"

namespace ringscale::tests {

// Runs the generator that lies beside the server's binary to its end; the output is
// that of both streams, so that an error can be read here.
Finished RunBench(const std::string& arguments);

}  // namespace ringscale::tests
