// ACL tags: "tag:" and a name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace ringscale::control {

// tailcfg.CheckTag: "tag:", a letter, then letters, digits and hyphens.
[[nodiscard]] bool IsTag(std::string_view text);
// For tags given by operators: well-formed and lower case; sorted, unique.
core::Result<std::vector<std::string>> NormalizeTags(std::vector<std::string> tags);
// The error for tags that may not be had: "requested tags [tag:a tag:b] are
// invalid or not permitted".
core::Error TagsRefused(const std::vector<std::string>& tags);

}  // namespace ringscale::control
