#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "bench/lib/relay_soak.h"

namespace ringscale::bench {
namespace {

constexpr double kLeastAllowed = 8.0 * 1024 * 1024;

std::span<const SoakSample> Judged(const SoakResult& result) {
  return std::span(result.samples).subspan(result.samples.size() / 3);
}

}  // namespace

std::string_view SoakRoleName(SoakRole role) {
  constexpr std::array<std::string_view, kSoakRoles> kNames = {
      "good",       "duplicate",   "silent",        "half_hello",    "byte_a_second",
      "half_login", "never_reads", "random_frames", "random_records"};
  return kNames[static_cast<std::size_t>(role)];
}

double SoakResult::memory_rise() const {
  const auto judged = Judged(*this);
  if (judged.size() < 2) return 0;
  double mean_at = 0;
  double mean_rss = 0;
  for (const SoakSample& sample : judged) {
    mean_at += sample.at / static_cast<double>(judged.size());
    mean_rss += static_cast<double>(sample.rss_bytes) / static_cast<double>(judged.size());
  }
  double together = 0;
  double square = 0;
  for (const SoakSample& sample : judged) {
    together += (sample.at - mean_at) * (static_cast<double>(sample.rss_bytes) - mean_rss);
    square += (sample.at - mean_at) * (sample.at - mean_at);
  }
  return square == 0 ? 0 : together / square * (judged.back().at - judged.front().at);
}

double SoakResult::allowed_rise() const {
  const auto judged = Judged(*this);
  const double rss = judged.empty() ? 0 : static_cast<double>(judged.front().rss_bytes);
  return std::max(kLeastAllowed, 0.05 * rss);
}

std::vector<std::string> SoakResult::Complaints() const {
  std::vector<std::string> complaints;
  const auto none = [&](std::uint64_t count, std::string_view what) {
    if (count != 0) complaints.push_back(fmt::format("{} {}", count, what));
  };
  none(corrupt, "packets with wrong content");
  none(misplaced, "packets repeated or out of order");
  none(foreign, "packets to the wrong client");
  none(cut_off, "well-behaved clients closed by the relay");
  if (received == 0) complaints.emplace_back("no packet arrived");
  if (memory_rise() > allowed_rise()) {
    complaints.push_back(fmt::format("memory grew by {:.1f} MB", memory_rise() / 1e6));
  }
  if (after.descriptors > before.descriptors) {
    none(after.descriptors - before.descriptors, "descriptors leaked");
  }
  return complaints;
}

}  // namespace ringscale::bench
