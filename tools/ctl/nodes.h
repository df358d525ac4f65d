// What the commands about nodes share.
#pragma once

#include <string>

#include "core/base/result.h"
#include "tools/ctl/tree.h"

namespace ringscale::ctl {

// Adds the required -i, --identifier.
void AddNodeId(Tree& tree, CLI::App& command, std::string& id);
// `id` as a path segment; an error unless it is a number.
core::Result<std::string> CheckNodeId(const std::string& id);

// The nodes, of one user or (empty) of all.
core::Result<Value> ListNodes(Session& session, const std::string& user);
// The table of `nodes list`.
void PrintNodes(Session& session, const Value& nodes);

// Items below each other in one cell.
[[nodiscard]] std::string Lines(const Value& array);
// "[AbCdE]": the first characters of a key in base 64, as clients print keys.
[[nodiscard]] std::string ShortKey(const std::string& key);

}  // namespace ringscale::ctl
