// The objects of the REST API v1, as headscale writes them: camelCase, 64-bit ids
// as strings, RFC 3339 times, no member left out.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "control/state/registry.h"
#include "core/json/writer.h"

namespace ringscale::control {

void WriteUser(core::json::Writer& json, const storage::UserRow& user);

// `key_text` replaces the masked key: only where a key was just made.
void WritePreAuthKey(core::json::Writer& json, const Registry& registry,
                     const storage::PreAuthKeyRow& key, std::string_view key_text = {});

enum class TaggedOwner : bool {
  kNone,    // "user": null
  kPseudo,  // the user tagged-devices, as lists have it
};
void WriteNode(core::json::Writer& json, const Registry& registry, const Node& node,
               TaggedOwner tagged = TaggedOwner::kNone);

// A time, or null.
void WriteTime(core::json::Writer& json, std::string_view name,
               const std::optional<core::WallTime>& time);
// A decimal id as a string.
void WriteId(core::json::Writer& json, std::string_view name, std::uint64_t id);

}  // namespace ringscale::control
