// What soaks found, as text and as JSON: a verdict with its reasons, no figures to
// plot.
#pragma once

#include <span>
#include <string>

#include "bench/lib/relay_soak.h"

namespace ringscale::bench {

struct SoakRow {
  std::string relay;
  SoakResult result;
};

std::string SoakText(const SoakRow& row);
std::string SoakJson(const std::string& command, std::span<const SoakRow> rows);

}  // namespace ringscale::bench
