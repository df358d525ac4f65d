// Help texts made from the tree of commands.
#pragma once

#include <string>

#include "tools/ctl/tree.h"

namespace ringscale::ctl {

// The page that `--help` prints, laid out as a manual page of 80 columns.
[[nodiscard]] std::string HelpPage(const Tree& tree, const CLI::App& app);

// All pages: docs/cli.md and docs/man/ringscale.1.
[[nodiscard]] std::string MarkdownReference(const Tree& tree, const CLI::App& root);
[[nodiscard]] std::string ManualPage(const Tree& tree, const CLI::App& root);

}  // namespace ringscale::ctl
