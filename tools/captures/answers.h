// The answers of a policy for all nodes as sorted lines of text, in one form
// whether recorded or computed, so that they can be compared and shown.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/json/reader.h"

namespace ringscale::captures {

struct Answers {
  int status = 200;
  std::string message;  // of a refusal
  std::map<std::string, std::vector<std::string>> nodes;
};

struct Comparison {
  std::string id;
  std::string policy;  // as text
  Answers expected;
  Answers got;
  [[nodiscard]] bool same() const;
};

// Reads one recording and computes what our engine says to the same.
core::Result<Comparison> Compare(const core::json::Value& recording);

}  // namespace ringscale::captures
