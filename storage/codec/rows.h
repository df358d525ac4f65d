// Rows to stored records and back (frame: storage/codec/record.h). Decoding is
// strict: whatever Encode could not have written is kCorrupt, a record of a newer
// version that must not be ignored is kUnsupported.
#pragma once

#include <string>
#include <string_view>

#include "core/base/result.h"
#include "storage/store.h"
#include "storage/tables/rows.h"

namespace ringscale::storage {

std::string Encode(const MetaRow& row);
std::string Encode(const UserRow& row);
std::string Encode(const NodeRow& row);
std::string Encode(const PreAuthKeyRow& row);
std::string Encode(const PolicyRow& row);

core::Result<MetaRow> DecodeMeta(std::string_view record);
core::Result<UserRow> DecodeUser(std::string_view record);
core::Result<NodeRow> DecodeNode(std::string_view record);
core::Result<PreAuthKeyRow> DecodePreAuthKey(std::string_view record);
core::Result<PolicyRow> DecodePolicy(std::string_view record);

// The schema version of a meta record of any version: field 1 is and stays it.
core::Result<std::uint32_t> PeekSchemaVersion(std::string_view meta_record);

// Checks one record: frame and checksum, for known tables also every field, and
// that the record belongs to `key`. Tables without a row type yet: frame only.
core::Result<> VerifyRecord(Table table, std::string_view key, std::string_view record);
// Frame and checksum only: for records of another schema version.
core::Result<> VerifyFrame(Table table, std::string_view record);

}  // namespace ringscale::storage
