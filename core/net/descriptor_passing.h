// Descriptors sent along with bytes over a Unix stream socket (SCM_RIGHTS, unix(7)).
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/fd.h"
#include "core/base/result.h"

namespace ringscale::core::net {

// What the kernel allows in one message.
inline constexpr std::size_t kMaxPassedDescriptors = 253;

// All bytes and duplicates of all descriptors in one message, without waiting:
// for a socket whose queue has room. kLimit: too many descriptors.
Result<> SendWithDescriptors(int socket, std::string_view bytes, std::span<const int> descriptors);

// The next bytes, at most `limit`, as they come; empty at the end of the stream.
// Descriptors that came with them are appended, close-on-exec. Waits as long as
// the socket does (SO_RCVTIMEO); kTimeout then.
Result<std::string> ReceiveWithDescriptors(int socket, std::size_t limit,
                                           std::vector<Fd>& descriptors);

}  // namespace ringscale::core::net
