// Help pages, the reference made from them, completion.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "tests/tools/ctl_support.h"
#include "tools/ctl/help.h"
#include "tools/ctl/table.h"
#include "tools/ctl/tree.h"

namespace ringscale::ctl::testing {
namespace {

void EveryCommand(const Tree& tree, const CLI::App& app,
                  const std::function<void(const CLI::App&)>& visit) {
  visit(app);
  for (const CLI::App* below : tree.Listed(app)) EveryCommand(tree, *below, visit);
}

TEST(CtlHelp, EveryCommandHasAPage) {
  const auto tree = BuildTree();
  const Commands commands = TestCommands("/nonexistent");
  EveryCommand(*tree, tree->root(), [&](const CLI::App& app) {
    const std::string name = tree->FullName(app);
    std::vector<std::string> words = Words(name.substr(std::string("ringscale").size()));
    std::vector<std::string> flagged = words;
    flagged.push_back("--help");
    const Outcome page = RunWith(commands, flagged);
    EXPECT_EQ(page.code, 0) << name;
    EXPECT_EQ(page.err, "");
    EXPECT_TRUE(page.out.starts_with("NAME\n    " + name + " - ")) << page.out;
    for (const char* section : {"\nSYNOPSIS\n", "\nGLOBAL OPTIONS\n", "\nEXIT STATUS\n"}) {
      EXPECT_NE(page.out.find(section), std::string::npos) << name;
    }
    std::istringstream lines(page.out);
    for (std::string line; std::getline(lines, line);) {
      EXPECT_LE(DisplayWidth(line), 80U) << name << ": " << line;
    }
    flagged.back() = "-h";
    EXPECT_EQ(RunWith(commands, flagged).out, page.out);
    words.insert(words.begin(), "help");
    EXPECT_EQ(RunWith(commands, words).out, page.out);
    if (tree->action(app) == nullptr) {
      words.erase(words.begin());
      EXPECT_EQ(RunWith(commands, words).out, page.out) << "a group alone prints its page";
    }
    EXPECT_FALSE(tree->text(app).summary.empty());
  });
}

// The repository's copies are made from the program: on a difference run this
// test with RINGSCALE_WRITE_DOCS=1.
void CompareWithFile(const std::string& text, const std::string& name) {
  const std::filesystem::path path = std::filesystem::path(RINGSCALE_SOURCE_DIR) / name;
  if (std::getenv("RINGSCALE_WRITE_DOCS") != nullptr) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }
  std::ifstream in(path, std::ios::binary);
  const std::string file{std::istreambuf_iterator<char>(in), {}};
  EXPECT_TRUE(file == text) << name << " is not what the program says";
}

TEST(CtlHelp, TheReferenceIsUpToDate) {
  const auto tree = BuildTree();
  CompareWithFile(MarkdownReference(*tree, tree->root()), "docs/cli.md");
  CompareWithFile(ManualPage(*tree, tree->root()), "docs/man/ringscale.1");
}

TEST(CtlCompletion, OffersWhatFits) {
  const Commands commands = TestCommands("/nonexistent");
  const auto words = [&](std::vector<std::string> line) {
    line.insert(line.begin(), {"__complete", "--"});
    const Outcome outcome = RunWith(commands, line);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    std::istringstream in(outcome.out);
    std::vector<std::string> out;
    for (std::string text; std::getline(in, text);) out.push_back(text.substr(0, text.find('\t')));
    return out;
  };
  using List = std::vector<std::string>;
  EXPECT_EQ(words({"us"}), List{"users"});
  EXPECT_EQ(words({"nodes", "re"}), (List{"register", "rename"}));
  EXPECT_EQ(words({"-o", "json", "nodes", "del"}), List{"delete"});
  EXPECT_EQ(words({"users", "list", "-o", ""}), (List{"json", "json-line", "yaml"}));
  EXPECT_EQ(words({"preauthkeys", "create", "--re"}), List{"--reusable"});
  EXPECT_EQ(words({"nodes", "expire", "-i", ""}), List{});
  EXPECT_EQ(words({"completion", ""}), (List{"bash", "zsh", "fish"}));
  EXPECT_EQ(words({"routes"}), List{});
  EXPECT_GT(words({""}).size(), 8U);
  EXPECT_GT(words({}).size(), 8U);
  for (const char* shell : {"bash", "zsh", "fish"}) {
    EXPECT_NE(RunWith(commands, {"completion", shell}).out.find("ringscale __complete"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace ringscale::ctl::testing
