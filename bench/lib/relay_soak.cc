#include "bench/lib/relay_soak.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <random>
#include <utility>

#include "bench/lib/derp_socket.h"
#include "bench/lib/machine_load.h"
#include "bench/lib/packet_stream.h"
#include "bench/lib/process_stats.h"
#include "core/engine/topology.h"

namespace ringscale::bench {
namespace {

constexpr std::size_t kLoginsAtOnce = 64;
constexpr core::Duration kTick = core::Millis(10);
constexpr core::Duration kSampleEvery = core::Seconds(1);
constexpr core::Duration kLoginLimit = core::Seconds(20);
// How long the server may take to notice that everybody has left.
constexpr core::Duration kLeaveLimit = core::Seconds(30);
// The descriptors of another process tell nobody when they change.
constexpr core::Duration kLeaveLook = core::Millis(100);
constexpr std::size_t kSharedKeys = 8;
constexpr std::size_t kOwnFiles = 32;
constexpr std::size_t kMostPacket = 1400;

bool Exchanges(SoakRole role) {
  return role == SoakRole::kGood || role == SoakRole::kDuplicate;
}
bool LogsIn(SoakRole role) {
  return Exchanges(role) || role >= SoakRole::kHalfLogin;
}
bool Finishes(SoakRole role) {
  return LogsIn(role) && role != SoakRole::kHalfLogin;
}

// One place for a connection; when one ends the next begins.
struct Place {
  enum class State : std::uint8_t { kEmpty, kConnecting, kLogin, kIn };
  SoakRole role = SoakRole::kGood;
  State state = State::kEmpty;
  core::Fd fd;  // until the login is over
  core::PrivateKey own_key = core::PrivateKey::Generate();
  core::NodePublic public_key;
  std::unique_ptr<DerpLogin> login;
  std::string unsent;
  std::unique_ptr<DerpSocket> socket;
  std::uint32_t life = 0;  // which of the connections that were here
  core::Instant began;
  core::Instant ends;
  core::Instant acts;      // when it does something next
  int steps_left = 0;      // of a login that stops
  std::uint32_t flow = 0;  // what it sends at the moment
  std::size_t to = 0;      // and to whom
  std::uint32_t to_life = 0;
  std::uint64_t sequence = 0;
};

// Packets of one sender to one receiver, in order.
struct Flow {
  StreamCheck check;
  core::NodePublic from;
  core::NodePublic to;
  bool ordered;  // not when several connections share the receiver's key
};

class Soak {
 public:
  Soak(const RelayTarget& target, const SoakOptions& options,
       std::shared_ptr<const core::tls::ClientContext> tls)
      : target_(target),
        options_(options),
        tls_(std::move(tls)),
        random_(options.seed),
        scratch_(64 * PacketWireBytes(kMostPacket, target.tls)),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        places_(options.connections) {
    for (std::size_t i = 0; i < kSharedKeys; ++i) {
      shared_keys_.push_back(core::PrivateKey::Generate());
    }
  }

  core::Result<SoakResult> Run(const ProgressFn& progress);

 private:
  std::uint64_t Below(std::uint64_t bound) { return random_() % bound; }
  core::Duration Around(core::Duration mean) {
    return core::Nanos(static_cast<std::int64_t>(Below(2 * static_cast<std::uint64_t>(mean.ns))));
  }
  SoakRole DrawRole() {
    constexpr std::uint64_t kGoodPercent = 60;
    if (Below(100) < kGoodPercent) return SoakRole::kGood;
    return static_cast<SoakRole>(1 + Below(kSoakRoles - 1));
  }

  core::Result<SoakSample> Sample() const;
  void Tick();
  void Begin(Place& place);
  void Watch(const Place& place, int fd, std::uint32_t events, int operation);
  void OnEvent(Place& place, std::uint32_t events);
  void DriveLogin(Place& place);
  void LoggedIn(Place& place);
  bool SendRaw(Place& place, std::string_view bytes);
  void Act(Place& place);
  void SendPacketTo(Place& place, const core::NodePublic& to, std::uint32_t stream);
  bool Aim(Place& place);
  void Read(Place& place);
  void OnPacket(const Place& place, core::Bytes payload);
  void Leave(Place& place);
  // The other side is gone.
  void Ended(Place& place);

  const RelayTarget& target_;
  const SoakOptions& options_;
  const std::shared_ptr<const core::tls::ClientContext> tls_;
  std::mt19937_64 random_;
  SocketScratch scratch_;
  core::Fd epoll_;
  std::vector<Place> places_;
  std::vector<core::PrivateKey> shared_keys_;
  std::vector<Flow> flows_;
  std::size_t logging_in_ = 0;
  std::size_t open_ = 0;
  core::Instant now_;
  core::Instant start_;
  SoakResult result_;
};

core::Result<SoakSample> Soak::Sample() const {
  const auto stats = ReadProcessStats(*target_.pid);
  const auto descriptors = CountDescriptors(*target_.pid);
  if (!stats || !descriptors) {
    return core::Fail(core::ErrorCode::kUnavailable, "the relay's process cannot be looked at");
  }
  return SoakSample{.at = (now_ - start_).seconds(),
                    .connections = open_,
                    .rss_bytes = stats->rss_bytes,
                    .descriptors = *descriptors,
                    .cpu_seconds = stats->cpu_seconds};
}

// --- a connection comes ---

void Soak::Watch(const Place& place, int fd, std::uint32_t events, int operation) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = static_cast<std::uint64_t>(&place - places_.data());
  epoll_ctl(epoll_.get(), operation, fd, &event);
}

void Soak::Begin(Place& place) {
  sockaddr_storage native{};
  const socklen_t length = target_.address.ToNative(native, false);
  core::Fd fd(::socket(native.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return;
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&native), length) != 0 &&
      errno != EINPROGRESS) {
    return;
  }
  place.role = DrawRole();
  ++result_.lives[static_cast<std::size_t>(place.role)];
  place.state = Place::State::kConnecting;
  place.own_key = core::PrivateKey::Generate();
  const core::PrivateKey& key =
      place.role == SoakRole::kDuplicate ? shared_keys_[Below(kSharedKeys)] : place.own_key;
  place.public_key = key.PublicAs<core::NodePublic>();
  place.login = std::make_unique<DerpLogin>(target_, tls_, key, scratch_.pool);
  place.unsent.clear();
  ++place.life;
  place.began = now_;
  place.ends = now_ + core::Seconds(1) + Around(options_.life);
  place.acts = now_;
  place.steps_left = place.role == SoakRole::kHalfLogin ? 1 + static_cast<int>(Below(2)) : -1;
  place.fd = std::move(fd);
  ++open_;
  if (Finishes(place.role)) ++logging_in_;
  Watch(place, place.fd.get(), EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

bool Soak::SendRaw(Place& place, std::string_view bytes) {
  place.unsent += bytes;
  const ssize_t sent =
      ::send(place.fd.get(), place.unsent.data(), place.unsent.size(), MSG_NOSIGNAL);
  if (sent > 0) place.unsent.erase(0, static_cast<std::size_t>(sent));
  return sent >= 0 || errno == EAGAIN;
}

void Soak::DriveLogin(Place& place) {
  if (place.state == Place::State::kConnecting) {
    place.state = Place::State::kLogin;
    // Room in the socket is certain: logins are short.
    Watch(place, place.fd.get(), EPOLLIN, EPOLL_CTL_MOD);
    if (!place.login->Feed({})) return Ended(place);
    std::string hello = place.login->TakeOutput();
    if (place.role == SoakRole::kSilent) return;
    if (place.role == SoakRole::kHalfHello) hello.resize(1 + Below(hello.size() - 1));
    if (place.role == SoakRole::kByteASecond) {
      place.unsent = std::move(hello);
      return;
    }
    if (!SendRaw(place, hello)) Ended(place);
    return;
  }
  for (;;) {
    std::uint8_t buffer[16384];
    const ssize_t got = ::recv(place.fd.get(), buffer, sizeof buffer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return Ended(place);
    if (!LogsIn(place.role) || place.steps_left == 0) continue;
    if (place.steps_left > 0) --place.steps_left;
    const auto status =
        place.login->Feed(core::MutableBytes(buffer, static_cast<std::size_t>(got)));
    if (!status || !SendRaw(place, place.login->TakeOutput())) return Ended(place);
    if (*status == DerpLogin::Status::kDone) return LoggedIn(place);
  }
}

void Soak::LoggedIn(Place& place) {
  if (Finishes(place.role)) --logging_in_;
  place.state = Place::State::kIn;
  place.socket =
      std::make_unique<DerpSocket>(std::move(place.fd), place.public_key, place.login->Take());
  place.login.reset();
  place.to_life = 0;
  // Those who never read do not want to hear that they could.
  if (place.role == SoakRole::kNeverReads) {
    Watch(place, place.socket->fd(), 0, EPOLL_CTL_MOD);
  }
}

// --- what it does ---

void Soak::SendPacketTo(Place& place, const core::NodePublic& to, std::uint32_t stream) {
  const std::size_t size = kPacketHead + Below(kMostPacket - kPacketHead);
  AppendPacket(*place.socket, scratch_, to, size, [&](core::MutableBytes packet) {
    WritePacket(packet, stream, place.sequence++, now_);
  });
}

// Finds somebody to send to; false when there is nobody.
bool Soak::Aim(Place& place) {
  for (int tries = 0; tries < 8; ++tries) {
    const std::size_t to = Below(places_.size());
    const Place& other = places_[to];
    if (other.state != Place::State::kIn || !Exchanges(other.role)) continue;
    place.to = to;
    place.to_life = other.life;
    place.sequence = 0;
    place.flow = static_cast<std::uint32_t>(flows_.size());
    flows_.push_back({.check = StreamCheck(place.flow),
                      .from = place.public_key,
                      .to = other.public_key,
                      .ordered = other.role == SoakRole::kGood});
    return true;
  }
  return false;
}

void Soak::Act(Place& place) {
  using Io = DerpSocket::Io;
  if (place.role == SoakRole::kByteASecond && place.state == Place::State::kLogin) {
    place.acts = now_ + core::Seconds(1);
    if (place.unsent.empty()) return;
    if (::send(place.fd.get(), place.unsent.data(), 1, MSG_NOSIGNAL) != 1) return Ended(place);
    place.unsent.erase(0, 1);
    return;
  }
  if (place.state != Place::State::kIn) {
    place.acts = now_ + core::Millis(100);
    return;
  }
  DerpSocket& socket = *place.socket;
  if (socket.blocked() && socket.Resume() == Io::kClosed) return Ended(place);
  switch (place.role) {
    case SoakRole::kGood:
    case SoakRole::kDuplicate: {
      place.acts =
          now_ + Around(core::Nanos(static_cast<std::int64_t>(1e9 / options_.packets_per_second)));
      if (socket.blocked()) return;
      const Place& other = places_[place.to];
      const bool there = other.life == place.to_life && other.state == Place::State::kIn;
      if (!there && !Aim(place)) return;
      SendPacketTo(place, places_[place.to].public_key, place.flow);
      ++result_.sent;
      break;
    }
    case SoakRole::kNeverReads:
      place.acts = now_ + core::Millis(50);
      if (socket.blocked()) return;
      for (int i = 0; i < 32; ++i) SendPacketTo(place, place.public_key, 0);
      break;
    case SoakRole::kRandomFrames: {
      place.acts = now_ + core::Millis(200);
      if (socket.blocked()) return;
      socket.Append(scratch_, static_cast<relay::FrameType>(Below(256)), Below(2000),
                    [&](core::MutableBytes payload) {
                      for (std::uint8_t& byte : payload)
                        byte = static_cast<std::uint8_t>(random_());
                    });
      break;
    }
    case SoakRole::kRandomRecords: {
      place.acts = now_ + core::Millis(200);
      std::array<std::uint8_t, 700> bytes;
      for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random_());
      if (Below(2) == 0) std::memcpy(bytes.data(), "\x17\x03\x03\x02\x00", 5);  // plausible
      (void)::send(socket.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      return;
    }
    default:
      place.acts = now_ + core::Seconds(1);
      return;
  }
  if (socket.Flush(scratch_) == Io::kClosed) Ended(place);
}

void Soak::Read(Place& place) {
  for (;;) {
    const auto io = place.socket->Receive(scratch_, [&](const relay::FrameView& frame) {
      if (frame.type == relay::FrameType::kRecvPacket) OnPacket(place, frame.payload());
    });
    if (io == DerpSocket::Io::kWouldBlock) return;
    if (io == DerpSocket::Io::kClosed) return Ended(place);
  }
}

void Soak::OnPacket(const Place& place, core::Bytes payload) {
  if (!Exchanges(place.role)) return;
  const core::Bytes packet = payload.subspan(std::min(relay::kKeyBytes, payload.size()));
  const std::uint32_t stream = packet.size() < kPacketHead ? 0 : core::LoadBe32(packet.data());
  if (packet.size() < kPacketHead || stream >= flows_.size()) {
    ++result_.corrupt;
    return;
  }
  Flow& flow = flows_[stream];
  if (flow.to != place.public_key ||
      std::memcmp(payload.data(), flow.from.raw.data(), relay::kKeyBytes) != 0) {
    ++result_.foreign;
    return;
  }
  StreamCheck alone(stream);
  StreamCheck& check = flow.ordered ? flow.check : alone;
  const std::uint64_t corrupt = check.corrupt();
  if (check.Check(packet).good) {
    ++result_.received;
  } else if (check.corrupt() != corrupt) {
    ++result_.corrupt;
  } else {
    ++result_.misplaced;
  }
}

// --- a connection goes ---

void Soak::Leave(Place& place) {
  const int fd = place.state == Place::State::kIn ? place.socket->fd() : place.fd.get();
  switch (Below(3)) {
    case 0: {  // a reset
      const linger reset{.l_onoff = 1, .l_linger = 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      break;
    }
    case 1:  // in the middle of a record
      (void)::send(fd, "\x17\x03\x03\x01", 4, MSG_NOSIGNAL);
      break;
    default:
      break;
  }
  if (place.state != Place::State::kIn && Finishes(place.role)) --logging_in_;
  place.state = Place::State::kEmpty;
  place.socket.reset();
  place.login.reset();
  place.fd.Reset();
  --open_;
}

void Soak::Ended(Place& place) {
  if (Exchanges(place.role)) {
    ++(place.state == Place::State::kIn ? result_.cut_off : result_.failed_logins);
  }
  Leave(place);
}

// --- the whole ---

void Soak::OnEvent(Place& place, std::uint32_t events) {
  if (place.state == Place::State::kEmpty) return;
  if (place.state != Place::State::kIn) return DriveLogin(place);
  if (place.role != SoakRole::kNeverReads) return Read(place);
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) Ended(place);
}

void Soak::Tick() {
  for (Place& place : places_) {
    if (place.state == Place::State::kEmpty) {
      if (logging_in_ < kLoginsAtOnce) Begin(place);
      continue;
    }
    const bool stuck = place.state != Place::State::kIn && Exchanges(place.role) &&
                       now_ - place.began > kLoginLimit;
    if (stuck) {
      Ended(place);
    } else if (place.ends <= now_) {
      Leave(place);
    } else if (place.acts <= now_) {
      Act(place);
    }
  }
}

core::Result<SoakResult> Soak::Run(const ProgressFn& progress) {
  if (!epoll_.valid()) return core::FailErrno("epoll_create1", errno);
  {
    // Somebody who gets in: the relay has opened everything that it needs.
    auto first = DerpSocket::Connect(target_, tls_, scratch_);
    if (!first) return core::Forward(first);
    now_ = start_ = core::MonotonicNow();
    auto before = Sample();
    if (!before) return core::Forward(before);
    result_.before = *before;
    --result_.before.descriptors;
  }
  const double cpu = OwnCpuSeconds();
  core::Instant ticks = now_;
  core::Instant samples = now_ + kSampleEvery;
  constexpr int kEvents = 512;
  epoll_event events[kEvents];
  while (now_ - start_ < options_.duration) {
    const int count = epoll_wait(epoll_.get(), events, kEvents, 2);
    now_ = core::MonotonicNow();
    for (int i = 0; i < count; ++i) OnEvent(places_[events[i].data.u64], events[i].events);
    if (now_ >= ticks) {
      ticks = now_ + kTick;
      Tick();
    }
    if (now_ < samples) continue;
    samples = samples + kSampleEvery;
    auto sample = Sample();
    if (!sample) return core::Forward(sample);
    result_.samples.push_back(*sample);
    progress(fmt::format("{:.0f} s, {} connections, {} packets, {:.1f} MB", sample->at, open_,
                         result_.received, static_cast<double>(sample->rss_bytes) / 1e6));
  }
  for (Place& place : places_) {
    if (place.state != Place::State::kEmpty) Leave(place);
  }
  const core::Instant left = now_;
  do {
    SleepFor(kLeaveLook);
    now_ = core::MonotonicNow();
    auto after = Sample();
    if (!after) return core::Forward(after);
    result_.after = *after;
  } while (result_.after.descriptors > result_.before.descriptors && now_ - left < kLeaveLimit);
  result_.own_cpu_seconds = OwnCpuSeconds() - cpu;
  return std::move(result_);
}

}  // namespace

core::Result<SoakResult> RunSoak(const RelayTarget& target, const SoakOptions& options,
                                 const ProgressFn& progress) {
  if (!target.pid) {
    return core::Fail(core::ErrorCode::kInvalid,
                      "a soak needs the relay on this machine (--pid), to look at its memory");
  }
  const auto files = core::engine::RaiseFileLimit();
  if (!files || *files < options.connections + kOwnFiles) {
    return core::Fail(core::ErrorCode::kLimit, "too few file descriptors (ulimit -n) for " +
                                                   std::to_string(options.connections) +
                                                   " connections");
  }
  std::shared_ptr<const core::tls::ClientContext> tls;
  if (target.tls) {
    auto made = MakeBenchTlsContext(options.cipher_suites);
    if (!made) return core::Forward(made);
    tls = std::move(*made);
  }
  return Soak(target, options, std::move(tls)).Run(progress);
}

}  // namespace ringscale::bench
