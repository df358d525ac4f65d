#include "bench/lib/relay_drops.h"

#include <charconv>

#include "bench/lib/control_target.h"

namespace ringscale::bench {

RelayDrops ParseDrops(std::string_view page) {
  RelayDrops drops;
  while (!page.empty()) {
    std::string_view line = page.substr(0, page.find('\n'));
    page.remove_prefix(std::min(page.size(), line.size() + 1));
    const std::size_t open = line.find('{');
    const std::size_t close = line.find("} ");
    if (open == std::string_view::npos || close == std::string_view::npos) continue;
    // A relay that has both names says the same under both.
    const std::string_view name = line.substr(0, open);
    if (name != "ringscale_relay_packets_dropped_total" && name != "derp_packets_dropped") continue;
    const std::string_view value = line.substr(close + 2);
    std::uint64_t count = 0;
    if (std::from_chars(value.data(), value.data() + value.size(), count).ec != std::errc()) {
      continue;
    }
    drops[std::string(line.substr(open + 1, close - open - 1))] = count;
  }
  return drops;
}

RelayDrops DropsSince(const RelayDrops& now, const RelayDrops& before) {
  RelayDrops since;
  for (const auto& [labels, count] : now) {
    const auto old = before.find(labels);
    const std::uint64_t base = old == before.end() ? 0 : old->second;
    if (count > base) since[labels] = count - base;
  }
  return since;
}

core::Result<RelayDrops> FetchDrops(const std::string& url) {
  constexpr std::size_t kMostBytes = 4 << 20;
  const std::size_t scheme = url.find("://");
  const std::size_t slash =
      scheme == std::string::npos ? std::string::npos : url.find('/', scheme + 3);
  auto target = ParseTarget(url.substr(0, slash), {.insecure = true, .ca_file = {}});
  if (!target) return core::Forward(target);
  const auto page =
      FetchPage(*target, slash == std::string::npos ? "/metrics" : url.substr(slash), kMostBytes);
  if (!page) return std::unexpected(page.error());
  if (!page->starts_with("HTTP/1.1 200") && !page->starts_with("HTTP/1.0 200")) {
    return core::Fail(core::ErrorCode::kInvalid,
                      url + " answers " + page->substr(0, page->find('\r')));
  }
  return ParseDrops(*page);
}

}  // namespace ringscale::bench
