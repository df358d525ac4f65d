// STUN: as many binding requests as the server answers, from one socket.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "bench/lib/machine_load.h"
#include "bench/lib/process_stats.h"
#include "bench/lib/relay_runs.h"
#include "relay/stun/responder.h"

namespace ringscale::bench {
namespace {

constexpr std::uint16_t kStunPort = 3478;
constexpr std::size_t kBatch = 64;
constexpr std::size_t kTransaction = 8;  // where it begins in a STUN message
// Without any answer for this long the requests under way are given up.
constexpr core::Duration kPatience = core::Millis(100);
// How long it looks for answers before it sleeps. On loopback the server pays for
// waking whom it answers; clients elsewhere cost it nothing of the kind.
constexpr core::Duration kSpin = core::Micros(200);

struct Requests {
  std::array<std::array<std::uint8_t, 40>, kBatch> bytes{};
  std::array<iovec, kBatch> pieces{};
  std::array<mmsghdr, kBatch> headers{};

  Requests() {
    for (std::size_t i = 0; i < kBatch; ++i) {
      pieces[i] = {.iov_base = bytes[i].data(), .iov_len = bytes[i].size()};
      headers[i].msg_hdr.msg_iov = &pieces[i];
      headers[i].msg_hdr.msg_iovlen = 1;
    }
  }
};

struct Answers {
  std::array<std::array<std::uint8_t, 256>, kBatch> bytes{};
  std::array<iovec, kBatch> pieces{};
  std::array<mmsghdr, kBatch> headers{};

  Answers() {
    for (std::size_t i = 0; i < kBatch; ++i) {
      pieces[i] = {.iov_base = bytes[i].data(), .iov_len = bytes[i].size()};
      headers[i].msg_hdr.msg_iov = &pieces[i];
      headers[i].msg_hdr.msg_iovlen = 1;
    }
  }
};

// At least one answer, or -1.
int Receive(int fd, Answers& answers) {
  const core::Instant until = core::MonotonicNow() + kSpin;
  do {
    const int got = ::recvmmsg(fd, answers.headers.data(), kBatch, MSG_DONTWAIT, nullptr);
    if (got > 0 || errno != EAGAIN) return got;
  } while (core::MonotonicNow() < until);
  return static_cast<int>(
      TEMP_FAILURE_RETRY(::recvmmsg(fd, answers.headers.data(), kBatch, MSG_WAITFORONE, nullptr)));
}

}  // namespace

core::Result<StunResult> MeasureStun(const RelayTarget& target, const StunOptions& options) {
  core::SocketAddress address = target.address;
  address.port = options.port.value_or(target.stun_port.value_or(kStunPort));
  sockaddr_storage native{};
  const socklen_t length = address.ToNative(native, false);
  const core::Fd fd(::socket(native.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid() || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&native), length) != 0) {
    return core::FailErrno("STUN socket to " + address.text(), errno);
  }
  const timeval patience{.tv_sec = 0, .tv_usec = kPatience.ns / 1000};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));

  auto requests = std::make_unique<Requests>();
  auto answers = std::make_unique<Answers>();
  StunResult result;
  std::uint64_t asked = 0;  // requests sent; the number is the transaction
  std::size_t under_way = 0;
  const auto server = [&] {
    const auto stats = target.pid ? ReadProcessStats(*target.pid) : std::nullopt;
    return stats ? stats->cpu_seconds : -1;
  };
  const double server_before = server();
  const double own_before = OwnCpuSeconds();
  const core::Instant began = core::MonotonicNow();
  core::Instant now = began;
  while (now - began < options.duration) {
    while (under_way + kBatch <= options.under_way) {
      for (auto& request : requests->bytes) {
        std::array<std::uint8_t, 12> transaction{};
        core::StoreBe64(transaction.data(), asked++);
        request = relay::MakeStunRequest(transaction);
      }
      const int sent = ::sendmmsg(fd.get(), requests->headers.data(), kBatch, 0);
      if (sent <= 0) {
        return core::FailErrno("sending STUN requests to " + address.text(), errno);
      }
      under_way += static_cast<std::size_t>(sent);
    }
    const int got = Receive(fd.get(), *answers);
    now = core::MonotonicNow();
    if (got <= 0) {
      if (errno == ECONNREFUSED) {
        return core::Fail(core::ErrorCode::kUnavailable, address.text() + " answers no STUN");
      }
      result.lost += under_way;
      under_way = 0;
      continue;
    }
    for (int i = 0; i < got; ++i) {
      const std::uint8_t* answer = answers->bytes[static_cast<std::size_t>(i)].data();
      const unsigned size = answers->headers[static_cast<std::size_t>(i)].msg_len;
      // A success response with a transaction that was asked for.
      if (size >= 20 && core::LoadBe16(answer) == 0x0101 &&
          core::LoadBe64(answer + kTransaction) < asked) {
        ++result.answers;
      } else {
        ++result.wrong;
      }
      if (under_way > 0) --under_way;
    }
  }
  result.seconds = (now - began).seconds();
  result.own_cpu_seconds = OwnCpuSeconds() - own_before;
  const double server_after = server();
  if (server_before >= 0 && server_after >= 0) {
    result.server_cpu_seconds = server_after - server_before;
  }
  return result;
}

}  // namespace ringscale::bench
