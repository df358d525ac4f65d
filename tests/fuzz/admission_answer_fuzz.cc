// What a verify URL and a tailscaled answer to a dedicated relay that asks whether a
// client may use it: any bytes. Only a clear yes admits.
#include <netinet/in.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/fd.h"
#include "core/obs/log.h"
#include "tests/fuzz/accepted.h"
#include "tests/fuzz/require.h"
#include "tools/relayd/client_check.h"

namespace {

using ringscale::fuzz::Require;

using namespace ringscale;

// Somebody to ask, with the fuzzer's thread behind the socket.
class Oracle {
 public:
  explicit Oracle(bool tailscaled) {
    sockaddr_storage address{};
    socklen_t size = sizeof(sockaddr_in);
    relayd::ClientCheck::Options options{.fail_open = false};
    if (tailscaled) {
      auto* path = reinterpret_cast<sockaddr_un*>(&address);
      path->sun_family = AF_UNIX;
      options.tailscaled_socket = "/tmp/ringscale-fuzz-" + std::to_string(::getpid());
      options.tailscaled_socket.copy(path->sun_path, sizeof(path->sun_path) - 1);
      ::unlink(path->sun_path);
      size = sizeof(sockaddr_un);
    } else {
      auto* inet = reinterpret_cast<sockaddr_in*>(&address);
      inet->sin_family = AF_INET;
      inet->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    listener_ = core::Fd(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    Require(::bind(listener_.get(), generic, size) == 0 && ::listen(listener_.get(), 8) == 0);
    if (!tailscaled) {
      ::getsockname(listener_.get(), generic, &size);
      options.url = "http://127.0.0.1:" +
                    std::to_string(ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port)) +
                    "/verify";
    }
    check_ = std::move(*relayd::ClientCheck::Start(options, metrics_));
    tailscaled_path_ = options.tailscaled_socket;
  }
  ~Oracle() {
    if (!tailscaled_path_.empty()) ::unlink(tailscaled_path_.c_str());
  }

  // nullopt: it gave up without having asked.
  std::optional<bool> Ask(std::string_view answer) {
    core::NodePublic key;
    key.raw.fill(0x42);
    std::promise<bool> allowed;
    check_->Ask(key, core::IpAddress::V4(0xc0000207),
                [&allowed](bool allow) { allowed.set_value(allow); });
    auto outcome = allowed.get_future();
    // libcurl now and then drops a connection before it has asked, and makes another one
    // or none.
    while (!Answer(answer)) {
      if (outcome.wait_for(std::chrono::seconds(0)) == std::future_status::ready) {
        return std::nullopt;
      }
    }
    return outcome.get();
  }

 private:
  // One connection; false when it ended without a question, or did not come for a while.
  bool Answer(std::string_view answer) const {
    constexpr int kWhileMs = 20;
    pollfd coming{.fd = listener_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&coming, 1, kWhileMs) <= 0) return false;
    const core::Fd asked(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    std::string request;
    char buffer[4096];
    while (request.find("\r\n\r\n") == std::string::npos ||
           (request.starts_with("POST") && !request.ends_with('}'))) {
      const ssize_t size = ::recv(asked.get(), buffer, sizeof buffer, 0);
      if (size <= 0) return false;
      request.append(buffer, static_cast<std::size_t>(size));
    }
    (void)::send(asked.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    return true;
  }

  core::Fd listener_;
  core::MetricsRegistry metrics_;
  std::string tailscaled_path_;
  std::unique_ptr<relayd::ClientCheck> check_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Oracle url(false);
  static Oracle tailscaled(true);
  if (size == 0) return 0;
  core::SetLogLevel(core::LogLevel::kError);
  std::string answer(core::AsText({data + 1, size - 1}));
  const bool any_bytes = data[0] % 3 != 0;
  const bool yes = relayd::IsAllowed(answer) && answer.size() <= 4096;
  if (!any_bytes) {
    answer.insert(
        0, "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(answer.size()) + "\r\n\r\n");
  }
  const auto said = (data[0] % 3 == 2 ? tailscaled : url).Ask(answer);
  if (!said) return 0;
  const bool allowed = *said;
  if (any_bytes) {
    // libcurl takes any line that begins with "HTTP/" for a status, in either case.
    Require(!allowed || ::strncasecmp(answer.c_str(), "HTTP/", 5) == 0);
  } else {
    Require(allowed == yes);
  }
  if (allowed) fuzz::Accepted();
  return 0;
}
