// The program as a child process: what tests of all its forms need.
#pragma once

#include <sys/types.h>

#include <initializer_list>
#include <string>

namespace ringscale::tests {

// RINGSCALE_BINARY, which ctest sets.
std::string Binary();

// Waits; the exit status, or 128 and the signal.
int WaitForEnd(pid_t pid);

// In the child, before exec: both outputs go to the end of a file.
void LogTo(const std::string& path);
// In the child: the descriptors become 3, 4, ... and are announced (sd_listen_fds(3)).
void GiveSockets(std::initializer_list<int> descriptors);

// The end of a file.
std::string TailOf(const std::string& path);

struct Finished {
  int status = -1;
  std::string output;
};
// Runs a line of shell to its end.
Finished RunLine(const std::string& line);

}  // namespace ringscale::tests
