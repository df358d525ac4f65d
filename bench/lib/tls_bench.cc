#include "bench/lib/tls_bench.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/lib/machine_load.h"
#include "bench/lib/process_stats.h"
#include "bench/lib/relay_target.h"
#include "bench/lib/relay_throughput.h"
#include "core/base/fd.h"
#include "core/tls/kernel_tls.h"

namespace ringscale::bench {
namespace {

constexpr std::array<const char*, 2> kTransports = {"user", "kernel"};
// Differences below this are noise.
constexpr double kWorthIt = 0.95;

core::Result<std::uint16_t> FreePort() {
  const core::Fd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const native = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  if (bind(probe.get(), native, size) != 0 || getsockname(probe.get(), native, &size) != 0) {
    return core::FailErrno("bind", errno);
  }
  return ntohs(address.sin_port);
}

bool Answers(std::uint16_t port) {
  const core::Fd probe(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
}

// A folder that is gone with the object.
struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "ringscale-tls-XXXXXX").string();
    if (mkdtemp(name.data()) != nullptr) path = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    if (!path.empty()) std::filesystem::remove_all(path, ignored);
  }
};

// The program with one transport, on a port of its own.
class Server {
 public:
  Server() = default;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() {
    if (pid_ <= 0) return;
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
  }

  core::Result<> Start(const std::string& program, const char* transport,
                       const std::filesystem::path& folder) {
    auto port = FreePort();
    if (!port) return core::Forward(port);
    const auto config = folder / fmt::format("{}.toml", transport);
    const auto log = folder / fmt::format("{}.log", transport);
    std::ofstream(config) << fmt::format(
        "listen = [\"127.0.0.1:{}\"]\n"
        "data_dir = \"{}\"\n"
        "metrics.listen = \"\"\n"
        "derp.verify_clients = false\n"
        "derp.stun_listen = []\n"
        "limits.connections_per_source = 0\n"
        "engine.tls = \"{}\"\n"
        "engine.relay_shards = 1\n"
        "engine.fronts = 1\n",
        *port, (folder / transport).string(), transport);

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(),
                                     O_CREAT | O_TRUNC | O_WRONLY, 0600);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    std::array<std::string, 4> words = {program, "serve", "--config", config.string()};
    std::array<char*, 5> arguments = {words[0].data(), words[1].data(), words[2].data(),
                                      words[3].data(), nullptr};
    const int error =
        posix_spawn(&pid_, program.c_str(), &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) return core::FailErrno(program, error);

    target_ = {.name = transport,
               .tls = true,
               .host = "127.0.0.1",
               .server_name = "127.0.0.1",
               .address = {.ip = *core::IpAddress::Parse("127.0.0.1"), .port = *port},
               .pid = pid_};
    for (int attempt = 0; attempt < 500; ++attempt) {
      if (Answers(*port)) return {};
      if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
        pid_ = 0;
        break;
      }
      SleepFor(core::Millis(20));
    }
    std::string text;
    std::ifstream lines(log);
    for (std::string line; std::getline(lines, line);) text = line;
    return core::Fail(core::ErrorCode::kUnavailable, program + " does not serve: " + text);
  }

  [[nodiscard]] const RelayTarget& target() const { return target_; }

 private:
  pid_t pid_ = 0;
  RelayTarget target_;
};

// All rounds of one transport under one load.
struct Samples {
  std::vector<double> megabits;
  std::vector<double> cpu_per_gb;
  [[nodiscard]] double Megabits() const { return Percentile(megabits, 0.5); }
  [[nodiscard]] double CpuPerGb() const { return Percentile(cpu_per_gb, 0.5); }
};

core::Result<std::string> FindServer(const TlsBenchOptions& options) {
  if (!options.server.empty()) return options.server;
  std::error_code error;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto beside = own.parent_path() / "ringscale";
  if (error || !std::filesystem::exists(beside)) {
    return core::Fail(core::ErrorCode::kNotFound,
                      "no program `ringscale` beside this one: name it with --server");
  }
  return beside.string();
}

core::Result<> Measure(const RelayTarget& target, const TlsBenchOptions& options, double megabits,
                       Samples& into) {
  ThroughputOptions load;
  load.pairs = options.pairs;
  load.packet_bytes = options.packet_bytes;
  load.duration = options.duration;
  load.bits_per_second = megabits * 1e6;
  auto result = MeasureThroughput(target, load, [](const std::string&) {});
  if (!result) return core::Forward(result);
  if (result->corrupt != 0 || result->misplaced != 0 || result->closed != 0) {
    return core::Fail(core::ErrorCode::kCorrupt,
                      fmt::format("transport {}: {} packets corrupt, {} out of order, {} "
                                  "connections closed",
                                  target.name, result->corrupt, result->misplaced, result->closed));
  }
  into.megabits.push_back(result->Bits(result->in_time) / 1e6);
  into.cpu_per_gb.push_back(result->cpu_per_gb());
  return {};
}

}  // namespace

std::string TlsAdvice(const core::tls::KernelTlsSupport& support, double user_cpu,
                      std::optional<double> kernel_cpu) {
  if (!kernel_cpu) {
    return "Kernel TLS could not be measured: set engine.tls = \"user\" (\"auto\" does the same "
           "here).";
  }
  if (*kernel_cpu >= kWorthIt * user_cpu) {
    return "The kernel's TLS is not cheaper here: set engine.tls = \"user\".";
  }
  std::string advice = "The kernel's TLS is cheaper here: set engine.tls = \"kernel\".";
  if (!support.rekeys) {
    advice += "\nThis kernel cannot change keys: a client whose key is used up reconnects.";
  }
  return advice;
}

core::Result<> RunTlsBench(const TlsBenchOptions& options) {
  const core::tls::KernelTlsSupport support = core::tls::ProbeKernelTls({});
  fmt::print("{}\n", support.why);
  const std::size_t transports = support.available ? kTransports.size() : 1;
  auto program = FindServer(options);
  if (!program) return core::Forward(program);
  const Folder folder;
  if (folder.path.empty()) return core::FailErrno("mkdtemp", errno);

  const std::array<double, 2> loads = {0, options.moderate_megabits};
  std::array<std::array<Samples, kTransports.size()>, loads.size()> samples;
  for (unsigned round = 0; round < options.rounds; ++round) {
    for (std::size_t transport = 0; transport < transports; ++transport) {
      Server server;
      if (auto started = server.Start(*program, kTransports[transport], folder.path); !started) {
        return started;
      }
      for (std::size_t load = 0; load < loads.size(); ++load) {
        if (!options.quiet) {
          fmt::print(stderr, "round {} of {}: {}\n", round + 1, options.rounds,
                     kTransports[transport]);
        }
        auto done = Measure(server.target(), options, loads[load], samples[load][transport]);
        if (!done) return done;
      }
    }
  }

  fmt::print("{} pairs, {} B packets, median of {} rounds; CPU of the server's process\n",
             options.pairs, options.packet_bytes, options.rounds);
  fmt::print("{:<8} {:<20} {:>8} {:>10}\n", "TLS by", "load", "Mbit/s", "CPU s/GB");
  for (std::size_t load = 0; load < loads.size(); ++load) {
    for (std::size_t transport = 0; transport < transports; ++transport) {
      const Samples& measured = samples[load][transport];
      fmt::print("{:<8} {:<20} {:>8.0f} {:>10.2f}\n", kTransports[transport],
                 load == 0 ? "as fast as possible" : fmt::format("{:.0f} Mbit/s", loads[load]),
                 measured.Megabits(), measured.CpuPerGb());
    }
  }
  const auto& [user, kernel] = samples[0];
  fmt::print("{}\n",
             TlsAdvice(support, user.CpuPerGb(),
                       support.available ? std::optional(kernel.CpuPerGb()) : std::nullopt));
  return {};
}

}  // namespace ringscale::bench
