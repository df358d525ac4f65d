// A program that was built with a sanitizer tells what it finds in a file; a test in
// whose programs one found anything fails, however well they went on.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

#include "tests/support/temp_folder.h"

namespace ringscale::tests {
namespace {

class SanitizerReports final : public testing::EmptyTestEventListener {
 public:
  void OnTestStart(const testing::TestInfo& /*test*/) override {
    folder_.emplace();
    // Read by programs as they start: this process has done so.
    for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"}) {
      setenv(name, ("log_path=" + folder_->path() + "/report").c_str(), 1);
    }
  }
  void OnTestEnd(const testing::TestInfo& /*test*/) override {
    for (const auto& file : std::filesystem::directory_iterator(folder_->path())) {
      std::stringstream text;
      text << std::ifstream(file.path()).rdbuf();
      ADD_FAILURE() << text.str();
    }
    folder_.reset();
  }

 private:
  std::optional<TempFolder> folder_;
};

const bool registered = [] {
  testing::UnitTest::GetInstance()->listeners().Append(new SanitizerReports);
  return true;
}();

}  // namespace
}  // namespace ringscale::tests
