#include "core/io/probe.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/base/fd.h"
#include "core/obs/log.h"

namespace ringscale::core::io {
namespace {

constexpr unsigned kSetupFlags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
constexpr unsigned kBuffers = 8;
constexpr unsigned kBufferSize = 256;
constexpr std::uint64_t kPostedMark = 77;

struct RingHolder {
  io_uring ring{};
  bool ready = false;
  ~RingHolder() {
    if (ready) io_uring_queue_exit(&ring);
  }
  int Setup(unsigned flags) {
    io_uring_params params{};
    params.flags = flags;
    params.cq_entries = (flags & IORING_SETUP_CQSIZE) != 0 ? 64 : 0;
    const int error = io_uring_queue_init_params(8, &ring, &params);
    ready = error == 0;
    return -error;
  }
};

int ReadDisabledSysctl() {
  const Fd file(open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC));
  char digit = 0;
  if (!file.valid() || read(file.get(), &digit, 1) != 1) return -1;
  return digit - '0';
}

std::string KernelRelease() {
  utsname name{};
  return uname(&name) == 0 ? name.release : "unknown";
}

Error TooOld(const std::string& what, const std::string& release) {
  return {ErrorCode::kUnsupported,
          "io_uring lacks " + what + ": kernel " + release +
              " is too old, io_uring needs Linux 6.1 or newer; update the kernel, or run on "
              "epoll (chosen automatically, slower)"};
}

// The features one by one, on a working ring.
class FeatureTrial {
 public:
  explicit FeatureTrial(io_uring& ring) : ring_(ring) {}
  FeatureTrial(const FeatureTrial&) = delete;
  FeatureTrial& operator=(const FeatureTrial&) = delete;
  ~FeatureTrial() {
    if (buffer_ring_ != nullptr) munmap(buffer_ring_, kBufferRingBytes);
  }

  // The name of the first feature that is missing, or "".
  std::string FirstMissing() {
    constexpr unsigned kFeatures = IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE |
                                   IORING_FEAT_FAST_POLL | IORING_FEAT_EXT_ARG |
                                   IORING_FEAT_CQE_SKIP;
    if ((ring_.features & kFeatures) != kFeatures) return "basic features";
    if (!RegisterBuffers()) return "provided buffer rings";
    if (!TryReceive(SOCK_STREAM)) return "multishot receive";
    if (!TryReceive(SOCK_DGRAM)) return "multishot recvmsg";
    if (!TryAccept()) return "multishot accept";
    if (!TryMessage()) return "messages between rings (MSG_RING)";
    return {};
  }

 private:
  static constexpr std::size_t kBufferRingBytes = 4096;

  struct Outcome {
    std::uint64_t user_data = 0;
    int result = -ETIME;
    unsigned flags = 0;
  };

  bool RegisterBuffers() {
    void* memory =
        mmap(nullptr, kBufferRingBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return false;
    buffer_ring_ = static_cast<io_uring_buf_ring*>(memory);
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uintptr_t>(memory);
    registration.ring_entries = kBuffers;
    if (io_uring_register_buf_ring(&ring_, &registration, 0) != 0) return false;
    for (unsigned i = 0; i < kBuffers; ++i) {
      io_uring_buf_ring_add(buffer_ring_, &buffers_[static_cast<std::size_t>(i) * kBufferSize],
                            kBufferSize, static_cast<unsigned short>(i),
                            io_uring_buf_ring_mask(kBuffers), static_cast<int>(i));
    }
    io_uring_buf_ring_advance(buffer_ring_, kBuffers);
    return true;
  }

  // The next completion, waiting up to a second.
  Outcome Next() {
    __kernel_timespec limit{.tv_sec = 1, .tv_nsec = 0};
    io_uring_cqe* entry = nullptr;
    io_uring_submit_and_wait_timeout(&ring_, &entry, 1, &limit, nullptr);
    if (entry == nullptr && io_uring_peek_cqe(&ring_, &entry) != 0) return {};
    const Outcome out{entry->user_data, entry->res, entry->flags};
    io_uring_cqe_seen(&ring_, entry);
    return out;
  }

  // A multishot operation on `fd` must stay after its first completion and end
  // when cancelled by descriptor.
  bool StaysAndCancels(int fd, bool first_ok, const Outcome& first) {
    if (!first_ok || (first.flags & IORING_CQE_F_MORE) == 0) return false;
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
    io_uring_prep_cancel_fd(entry, fd, IORING_ASYNC_CANCEL_ALL);
    entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
    entry->user_data = 2;
    const Outcome last = Next();
    return last.user_data == 1 && last.result == -ECANCELED;
  }

  bool TryReceive(int type) {
    int pair[2] = {-1, -1};
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) != 0) return false;
    const Fd near(pair[0]);
    const Fd far(pair[1]);
    msghdr message{};
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
    if (type == SOCK_STREAM) {
      io_uring_prep_recv_multishot(entry, near.get(), nullptr, 0, 0);
    } else {
      io_uring_prep_recvmsg_multishot(entry, near.get(), &message, 0);
    }
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->user_data = 1;
    if (send(far.get(), "x", 1, MSG_NOSIGNAL) != 1) return false;
    const Outcome first = Next();
    const bool ok = first.result > 0 && (first.flags & IORING_CQE_F_BUFFER) != 0;
    return StaysAndCancels(near.get(), ok, first);
  }

  bool TryAccept() {
    const Fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    // An empty name binds to a free abstract one.
    if (!listener.valid() ||
        bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(sa_family_t)) != 0 ||
        listen(listener.get(), 1) != 0) {
      return false;
    }
    socklen_t length = sizeof address;
    getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length);
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
    io_uring_prep_multishot_accept(entry, listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
    entry->user_data = 1;
    const Fd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(client.get(), reinterpret_cast<sockaddr*>(&address), length) != 0) return false;
    const Outcome first = Next();
    const Fd accepted(first.result);
    return StaysAndCancels(listener.get(), first.result >= 0, first);
  }

  bool TryMessage() {
    RingHolder other;
    if (other.Setup(kSetupFlags) != 0) return false;
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
    io_uring_prep_msg_ring(entry, other.ring.ring_fd, 0, kPostedMark, 0);
    entry->user_data = 1;
    if (Next().result != 0) return false;
    __kernel_timespec limit{.tv_sec = 1, .tv_nsec = 0};
    io_uring_cqe* posted = nullptr;
    io_uring_submit_and_wait_timeout(&other.ring, &posted, 1, &limit, nullptr);
    return posted != nullptr && posted->user_data == kPostedMark;
  }

  io_uring& ring_;
  io_uring_buf_ring* buffer_ring_ = nullptr;
  std::array<std::uint8_t, static_cast<std::size_t>(kBuffers) * kBufferSize> buffers_{};
};

bool EpollAskedFor() {
  const char* const wish = std::getenv("RINGSCALE_RING");
  return wish != nullptr && std::string_view(wish) == "epoll";
}

RingKind ProbeAndLog() {
  const auto probed = ProbeIoUring();
  if (probed) return RingKind::kUring;
  LogWarn("io", "running on epoll instead of io_uring: slower, but complete",
          {{"reason", probed.error().message}});
  return RingKind::kEpoll;
}

}  // namespace

Error internal::ExplainSetupFailure(const SetupFailure& failure) {
  const std::string kernel = "kernel " + failure.release;
  switch (failure.error) {
    case ENOSYS:
      return {ErrorCode::kUnsupported,
              "io_uring is not there (ENOSYS): " + kernel +
                  " was built without it, is older than 5.1, or a container profile hides it; "
                  "use Linux 6.1 or newer, or run on epoll (chosen automatically, slower)"};
    case EPERM:
    case EACCES:
      if (failure.sysctl_disabled > 0) {
        return {ErrorCode::kPermission,
                "io_uring is switched off by the sysctl kernel.io_uring_disabled=" +
                    std::to_string(failure.sysctl_disabled) +
                    "; allow it with `sysctl -w kernel.io_uring_disabled=0`, or run on epoll "
                    "(chosen automatically, slower)"};
      }
      return {ErrorCode::kPermission,
              "io_uring is refused (EPERM) although " + kernel +
                  " has it: a seccomp filter, usually the container's default profile, denies it; "
                  "allow the io_uring_* system calls in that profile, or run on epoll (chosen "
                  "automatically, slower)"};
    case EINVAL:
      if (failure.error_without_flags == 0) {
        return TooOld("single-issuer rings with deferred task work", failure.release);
      }
      break;
    case ENOMEM:
      return {ErrorCode::kLimit,
              "io_uring gets no memory (ENOMEM): raise the limit on locked memory (`ulimit -l`, "
              "LimitMEMLOCK= in the service unit), or run on epoll (chosen automatically, slower)"};
    default:
      break;
  }
  Error error = FailErrno("io_uring_setup", failure.error).error();
  error.message += " (" + kernel + ")";
  return error;
}

Result<> ProbeIoUring() {
  RingHolder holder;
  internal::SetupFailure failure;
  failure.error = holder.Setup(kSetupFlags);
  if (failure.error != 0) {
    RingHolder plain;
    failure.error_without_flags = plain.Setup(0);
    failure.sysctl_disabled = ReadDisabledSysctl();
    failure.release = KernelRelease();
    return std::unexpected(internal::ExplainSetupFailure(failure));
  }
  const std::string missing = FeatureTrial(holder.ring).FirstMissing();
  if (!missing.empty()) return std::unexpected(TooOld(missing, KernelRelease()));
  return {};
}

std::string_view RingKindName(RingKind kind) {
  return kind == RingKind::kUring ? "io_uring" : "epoll";
}

RingKind ChooseRing(bool force_epoll) {
  if (force_epoll || EpollAskedFor()) return RingKind::kEpoll;
  static const RingKind kind = ProbeAndLog();
  return kind;
}

}  // namespace ringscale::core::io
