#include "core/io/pause.h"

#include <ctime>

namespace ringscale::core::io {

void Pause(Duration time) {
  const timespec left{.tv_sec = 0, .tv_nsec = time.ns};
  nanosleep(&left, nullptr);
}

}  // namespace ringscale::core::io
