// policy-captures DIR [--show ID]: compares the policy engine's answers with
// recorded answers of the hosted service, one JSON file per recording.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>

#include "tools/captures/answers.h"

namespace ringscale::captures {
namespace {

namespace fs = std::filesystem;

void Show(const Comparison& comparison) {
  const auto verdict = [](const Answers& answers) {
    return std::to_string(answers.status) + " " + answers.message;
  };
  std::cout << comparison.id << (comparison.same() ? ": same\n" : ": DIFFERENT\n")
            << "policy:   " << comparison.policy << "\n"
            << "expected: " << verdict(comparison.expected) << "\n"
            << "got:      " << verdict(comparison.got) << "\n";
  for (const auto& [name, wanted] : comparison.expected.nodes) {
    const auto found = comparison.got.nodes.find(name);
    const std::vector<std::string> none;
    const auto& got = found == comparison.got.nodes.end() ? none : found->second;
    std::cout << name << "\n";
    // Both are sorted: lines of one side only stand alone.
    std::size_t i = 0;
    std::size_t j = 0;
    while (i < wanted.size() || j < got.size()) {
      if (j == got.size() || (i < wanted.size() && wanted[i] < got[j])) {
        std::cout << "  - expected " << wanted[i++] << "\n";
      } else if (i == wanted.size() || got[j] < wanted[i]) {
        std::cout << "  + got      " << got[j++] << "\n";
      } else {
        std::cout << "  = both     " << wanted[i++] << "\n";
        ++j;
      }
    }
  }
}

int Run(const fs::path& folder, const std::string& show) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    if (at->path().extension() == ".json") files.push_back(at->path());
  }
  if (error) {
    std::cerr << folder.string() << ": " << error.message() << "\n";
    return 2;
  }
  std::ranges::sort(files);
  struct Tally {
    int passed = 0;
    int failed = 0;
  };
  std::map<std::string, Tally> groups;
  Tally all;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    core::json::Parser parser;
    const auto recording = parser.Parse(text.str(), {std::size_t{1} << 28, 64});
    std::string name = file.stem().string();
    auto comparison = recording ? Compare(*recording)
                                : core::Result<Comparison>(std::unexpected(recording.error()));
    if (comparison && !comparison->id.empty()) name = comparison->id;
    if (!show.empty() && show != name && show != file.stem()) continue;
    const bool same = comparison && comparison->same();
    if (!comparison) {
      std::cout << "FAILED " << file.string() << ": " << comparison.error().message << "\n";
    } else if (!show.empty()) {
      Show(*comparison);
    } else if (!same) {
      std::cout << "FAILED " << name << "\n";
    }
    Tally& group = groups[file.parent_path().filename().string()];
    ++(same ? group.passed : group.failed);
    ++(same ? all.passed : all.failed);
  }
  for (const auto& [name, tally] : groups) {
    std::cout << name << ": " << tally.passed << " passed, " << tally.failed << " failed\n";
  }
  std::cout << all.passed << " passed, " << all.failed << " failed\n";
  if (all.passed + all.failed == 0) {
    std::cerr << "no recordings found\n";
    return 2;
  }
  return all.failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ringscale::captures

int main(int argc, char** argv) {
  std::string folder;
  std::string show;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--show" && i + 1 < argc) {
      show = argv[++i];
    } else if (folder.empty() && !word.starts_with('-')) {
      folder = word;
    } else {
      folder.clear();
      break;
    }
  }
  if (folder.empty()) {
    std::cerr << "usage: policy-captures DIR [--show ID]\n";
    return 2;
  }
  return ringscale::captures::Run(folder, show);
}
