// The table of keys and the example made from it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "tests/tools/config_support.h"
#include "tests/tools/config_values.h"
#include "tools/serverd/config.h"
#include "tools/serverd/config/keys.h"

namespace ringscale::serverd {
namespace {

// The example with every key as a setting instead of a comment.
std::string Uncommented(const std::string& example) {
  std::istringstream in(example);
  std::string out;
  for (std::string line; std::getline(in, line);) {
    const bool key = line.size() > 1 && line[0] == '#' && line[1] >= 'a' && line[1] <= 'z';
    out += (key ? line.substr(1) : line) + "\n";
  }
  return out;
}

TEST(ConfigExample, ParsesAndEqualsTheDefaults) {
  const Config defaults = Parse("");
  EXPECT_EQ(Parse(ExampleConfig()), defaults);
  const std::string all = Uncommented(ExampleConfig());
  Config given = Parse(all);
  // What "empty" stands for is only known outside.
  EXPECT_EQ(given.data_dir, defaults.data_dir);
  EXPECT_EQ(given, defaults);
  // Every key was really given: changing any one line away from TOML is noticed.
  EXPECT_EQ(std::ranges::count(all, '=') >= static_cast<std::ptrdiff_t>(Keys().size()), true);
}

TEST(ConfigExample, HoldsEveryKeyUnderItsSection) {
  std::istringstream in(ExampleConfig());
  std::set<std::string> seen;
  std::string section;
  for (std::string line; std::getline(in, line);) {
    EXPECT_LE(line.size(), 90U) << line;
    if (line.starts_with('[')) section = line.substr(1, line.size() - 2) + ".";
    if (line.size() > 1 && line[0] == '#' && line[1] >= 'a' && line[1] <= 'z') {
      seen.insert(section + line.substr(1, line.find(" = ") - 1));
    }
  }
  std::set<std::string> keys;
  for (const Key& key : Keys()) keys.insert(std::string(key.path));
  EXPECT_EQ(seen, keys);
}

TEST(ConfigExample, IsTheCheckedInFile) {
  const auto file = std::filesystem::path(RINGSCALE_SOURCE_DIR) / "tools/ringscale.example.toml";
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  EXPECT_EQ(text.str(), ExampleConfig()) << "write ExampleConfig() to tools/ringscale.example.toml";
}

// None may be without effect.
TEST(ConfigKeys, EveryKeyReachesTheConfig) {
  std::set<std::string> names;
  for (const Key& key : Keys()) {
    Config config;
    const std::string before = key.show(config);
    const std::string_view text = OtherValue(key);
    // Through the file's parser, without the checks between keys.
    const auto parsed = ParseConfig(std::string(key.path) + " = " + std::string(text), "x");
    const bool refused_alone = !parsed && !parsed.error().message.contains("expected");
    EXPECT_TRUE(parsed || refused_alone) << key.path << ": " << parsed.error().message;
    if (parsed) {
      Config changed = *parsed;
      EXPECT_NE(key.show(changed), before) << key.path;
      EXPECT_NE(changed, Parse("")) << key.path;
    }
    EXPECT_TRUE(names.insert(EnvironmentName(key.path)).second) << key.path;
    EXPECT_FALSE(key.doc.empty()) << key.path;
    EXPECT_FALSE(key.doc.ends_with('\n')) << key.path;
    const auto dot = key.path.rfind('.');
    if (dot != std::string_view::npos) {
      EXPECT_NE(FindSection(key.path.substr(0, dot)), nullptr) << key.path;
    }
  }
}

}  // namespace
}  // namespace ringscale::serverd
