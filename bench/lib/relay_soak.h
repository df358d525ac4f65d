// A relay over a long time: clients come, exchange packets and go, others
// misbehave in every way that a stranger can; what the server holds is looked at
// all the while, and once more when everybody has left.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/lib/relay_target.h"
#include "bench/lib/relay_throughput.h"
#include "core/base/result.h"
#include "core/base/time.h"

namespace ringscale::bench {

// What a connection is there for. Those that exchange packets are judged: the
// relay must not close them, and every packet they get is checked.
enum class SoakRole : std::uint8_t {
  kGood,           // exchanges packets with others
  kDuplicate,      // the same, with a key that others use at the same time
  kSilent,         // connects and says nothing
  kHalfHello,      // sends a part of its ClientHello
  kByteASecond,    // sends its ClientHello so slowly
  kHalfLogin,      // stops somewhere between TLS and ServerInfo
  kNeverReads,     // sends to itself and reads nothing
  kRandomFrames,   // logs in, then sends frames of any type and length
  kRandomRecords,  // logs in, then sends bytes that are no TLS records
};
inline constexpr std::size_t kSoakRoles = 9;
std::string_view SoakRoleName(SoakRole role);

struct SoakOptions {
  std::size_t connections = 500;
  core::Duration duration = core::Seconds(60);
  core::Duration life = core::Seconds(15);  // of a connection, on average
  double packets_per_second = 2;            // of one client
  std::uint64_t seed = 1;
  std::string cipher_suites = "TLS_AES_128_GCM_SHA256";
};

// The server at one time.
struct SoakSample {
  double at = 0;  // seconds since the start
  std::size_t connections = 0;
  std::uint64_t rss_bytes = 0;
  std::size_t descriptors = 0;
  double cpu_seconds = 0;
};

struct SoakResult {
  SoakSample before;
  std::vector<SoakSample> samples;  // one a second
  SoakSample after;                 // everybody has left
  std::array<std::uint64_t, kSoakRoles> lives{};
  std::uint64_t failed_logins = 0;  // of those who behave
  std::uint64_t cut_off = 0;        // closed by the relay although they behave
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  std::uint64_t corrupt = 0;    // wrong content
  std::uint64_t misplaced = 0;  // repeated or out of order
  std::uint64_t foreign = 0;    // to the wrong client, or of a wrong sender
  double own_cpu_seconds = 0;

  // How much memory grows from the end of the first third, when everything has been
  // in use once, to the end: the line through the samples.
  [[nodiscard]] double memory_rise() const;
  // At most so much of it is noise: 5 % of what the server has, at least 8 MiB.
  [[nodiscard]] double allowed_rise() const;
  // What is wrong; empty when all is well.
  [[nodiscard]] std::vector<std::string> Complaints() const;
};

// The relay runs on this machine: `target.pid` is set.
core::Result<SoakResult> RunSoak(const RelayTarget& target, const SoakOptions& options,
                                 const ProgressFn& progress);

}  // namespace ringscale::bench
