// What is not well at the moment: written by whoever notices, shown by /health
// and `ringscale health`. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace ringscale::serverd {

class HealthBoard {
 public:
  enum class Severity : unsigned char { kWarning, kFailure };
  struct Problem {
    std::string subject;  // "store", "certificate", "relay", ...
    Severity severity = Severity::kWarning;
    std::string text;
  };

  // An empty text: the subject is well again. True when this changed something.
  bool Set(const std::string& subject, Severity severity, std::string text) {
    const std::lock_guard lock(mutex_);
    if (text.empty()) return problems_.erase(subject) > 0;
    Problem& problem = problems_[subject];
    const bool changed = problem.text != text || problem.severity != severity;
    problem = {subject, severity, std::move(text)};
    return changed;
  }

  [[nodiscard]] std::vector<Problem> Problems() const {
    const std::lock_guard lock(mutex_);
    std::vector<Problem> list;
    for (const auto& [subject, problem] : problems_) list.push_back(problem);
    return list;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Problem> problems_;
};

}  // namespace ringscale::serverd
