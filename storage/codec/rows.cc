#include "storage/codec/rows.h"

#include <algorithm>
#include <array>
#include <utility>

#include "storage/codec/keys.h"
#include "storage/codec/record.h"

namespace ringscale::storage {
namespace {

// A list is one field: for each text its length and its bytes.
std::string JoinTexts(const std::vector<std::string>& texts) {
  std::string out;
  for (const auto& text : texts) {
    AppendVarint(out, text.size());
    out.append(text);
  }
  return out;
}

void SplitTexts(RecordReader& reader, std::vector<std::string>& texts) {
  std::string_view in = reader.View();
  while (!in.empty()) {
    const auto size = TakeVarint(in);
    if (!size || *size > in.size()) return reader.Corrupt("a list is malformed");
    texts.emplace_back(in.substr(0, static_cast<std::size_t>(*size)));
    in.remove_prefix(static_cast<std::size_t>(*size));
  }
}

std::string_view AddressBytes(const core::IpAddress& ip) {
  if (!ip.valid()) return {};
  return core::AsText(core::Bytes(ip.bytes).first(ip.is_v4() ? 4 : 16));
}

bool SetAddress(std::string_view bytes, core::IpAddress& ip) {
  if (bytes.size() != 4 && bytes.size() != 16) return false;
  ip.family = bytes.size() == 4 ? core::IpAddress::Family::kV4 : core::IpAddress::Family::kV6;
  std::ranges::copy(core::AsBytes(bytes), ip.bytes.begin());
  return true;
}

void ReadAddress(RecordReader& reader, core::IpAddress::Family family, core::IpAddress& ip) {
  if (!SetAddress(reader.View(), ip) || ip.family != family) {
    reader.Corrupt("an address has the wrong length");
  }
}

// For each approval three numbers: source, owner, time.
std::string JoinApprovals(const std::vector<SshApproval>& approvals) {
  std::string out;
  for (const auto& approval : approvals) {
    AppendVarint(out, approval.source);
    AppendVarint(out, approval.owner);
    AppendVarint(out, static_cast<std::uint64_t>(approval.at.unix_ns));
  }
  return out;
}

void SplitApprovals(RecordReader& reader, std::vector<SshApproval>& approvals) {
  std::string_view in = reader.View();
  while (!in.empty()) {
    const auto source = TakeVarint(in);
    const auto owner = source ? TakeVarint(in) : std::nullopt;
    const auto at = owner ? TakeVarint(in) : std::nullopt;
    if (!at) return reader.Corrupt("a list of approvals is malformed");
    approvals.push_back(
        {.source = *source, .owner = *owner, .at = {static_cast<std::int64_t>(*at)}});
  }
}

// For each prefix: number of address bytes, address, prefix length.
std::string JoinPrefixes(const std::vector<core::IpPrefix>& prefixes) {
  std::string out;
  for (const auto& prefix : prefixes) {
    const std::string_view address = AddressBytes(prefix.address);
    out.push_back(static_cast<char>(address.size()));
    out.append(address);
    out.push_back(static_cast<char>(prefix.length));
  }
  return out;
}

void SplitPrefixes(RecordReader& reader, std::vector<core::IpPrefix>& prefixes) {
  std::string_view in = reader.View();
  while (!in.empty()) {
    const auto size = static_cast<std::uint8_t>(in[0]);
    core::IpPrefix prefix;
    if (in.size() < std::size_t{size} + 2 || !SetAddress(in.substr(1, size), prefix.address)) {
      return reader.Corrupt("a route is malformed");
    }
    prefix.length = static_cast<std::uint8_t>(in[size + 1U]);
    if (prefix.length > size * 8) return reader.Corrupt("a route is malformed");
    prefixes.push_back(prefix);
    in.remove_prefix(std::size_t{size} + 2);
  }
}

// --- a field by its type, on its way out and in ---

void Write(RecordWriter& out, std::uint32_t field, std::uint64_t value) {
  out.U64(field, value);
}
void Write(RecordWriter& out, std::uint32_t field, std::uint32_t value) {
  out.U64(field, value);
}
void Write(RecordWriter& out, std::uint32_t field, bool value) {
  out.Bool(field, value);
}
void Write(RecordWriter& out, std::uint32_t field, core::WallTime value) {
  out.Time(field, value);
}
void Write(RecordWriter& out, std::uint32_t field, const std::optional<core::WallTime>& value) {
  out.OptionalTime(field, value);
}
void Write(RecordWriter& out, std::uint32_t field, const std::string& value) {
  out.Text(field, value);
}
void Write(RecordWriter& out, std::uint32_t field, const std::array<std::uint8_t, 32>& value) {
  out.Key(field, value);
}
void Write(RecordWriter& out, std::uint32_t field, RegisterMethod value) {
  out.U64(field, static_cast<std::uint64_t>(value));
}
void Write(RecordWriter& out, std::uint32_t field, const std::vector<std::string>& value) {
  out.Text(field, JoinTexts(value));
}
void Write(RecordWriter& out, std::uint32_t field, const std::vector<core::IpPrefix>& value) {
  out.Text(field, JoinPrefixes(value));
}
void Write(RecordWriter& out, std::uint32_t field, const std::vector<SshApproval>& value) {
  out.Text(field, JoinApprovals(value));
}
void Write(RecordWriter& out, std::uint32_t field, const core::IpAddress& value,
           core::IpAddress::Family /*family*/) {
  out.Text(field, AddressBytes(value));
}

void Read(RecordReader& in, std::uint64_t& value) {
  in.U64(value);
}
void Read(RecordReader& in, std::uint32_t& value) {
  in.U32(value);
}
void Read(RecordReader& in, bool& value) {
  in.Bool(value);
}
void Read(RecordReader& in, core::WallTime& value) {
  in.Time(value);
}
void Read(RecordReader& in, std::optional<core::WallTime>& value) {
  in.OptionalTime(value);
}
void Read(RecordReader& in, std::string& value) {
  in.Text(value);
}
void Read(RecordReader& in, std::array<std::uint8_t, 32>& value) {
  in.Key(value);
}
void Read(RecordReader& in, RegisterMethod& value) {
  std::uint64_t method = 0;
  in.U64(method);
  if (method > static_cast<std::uint64_t>(RegisterMethod::kOidc)) {
    return in.Corrupt("its register method is unknown");
  }
  value = static_cast<RegisterMethod>(method);
}
void Read(RecordReader& in, std::vector<std::string>& value) {
  SplitTexts(in, value);
}
void Read(RecordReader& in, std::vector<core::IpPrefix>& value) {
  SplitPrefixes(in, value);
}
void Read(RecordReader& in, std::vector<SshApproval>& value) {
  SplitApprovals(in, value);
}
void Read(RecordReader& in, core::IpAddress& value, core::IpAddress::Family family) {
  ReadAddress(in, family, value);
}

// --- the fields of each row ---
//
// Their numbers are on disk: never reuse one, never change what one means. They ascend,
// as records have them.

constexpr std::uint32_t kSchemaVersionField = 1;

constexpr auto kMetaFields = [](auto& row, auto&& field) {
  field(kSchemaVersionField, row.schema_version);
  field(2, row.next_user_id);
  field(3, row.next_node_id);
  field(4, row.next_pre_auth_key_id);
  field(5, row.next_api_key_id);
  field(6, row.next_policy_version);
  field(7, row.server_id);
};

constexpr auto kUserFields = [](auto& row, auto&& field) {
  field(1, row.id);
  field(2, row.name);
  field(3, row.display_name);
  field(4, row.email);
  field(5, row.picture_url);
  field(6, row.provider);
  field(7, row.created);
};

constexpr auto kNodeFields = [](auto& row, auto&& field) {
  field(1, row.id);
  field(2, row.stable_id);
  field(3, row.machine_key.raw);
  field(4, row.node_key.raw);
  field(5, row.disco_key.raw);
  field(6, row.user_id);
  field(7, row.tags);
  field(8, row.hostname);
  field(9, row.given_name);
  field(10, row.ipv4, core::IpAddress::Family::kV4);
  field(11, row.ipv6, core::IpAddress::Family::kV6);
  field(12, row.created);
  field(13, row.expiry);
  field(14, row.last_seen);
  field(15, row.ephemeral);
  field(16, row.method);
  field(17, row.auth_key_id);
  field(18, row.ever_polled);
  field(19, row.capability_version);
  field(20, row.hostinfo);
  field(21, row.approved_routes);
  // Without it the server chooses among the routers anew at its next start.
  field(kFirstIgnorable, row.primary_routes);
  // Without it somebody is asked once more.
  field(kFirstIgnorable + 1, row.ssh_approvals);
};

constexpr auto kPreAuthKeyFields = [](auto& row, auto&& field) {
  field(1, row.id);
  field(2, row.prefix);
  field(3, row.secret_hash);
  field(4, row.legacy_hash);
  field(5, row.user_id);
  field(6, row.tags);
  field(7, row.reusable);
  field(8, row.ephemeral);
  field(9, row.used);
  field(10, row.revoked);
  field(11, row.used_by.raw);
  field(12, row.created);
  field(13, row.expiry);
};

constexpr auto kPolicyFields = [](auto& row, auto&& field) {
  field(1, row.id);
  field(2, row.created);
  field(3, row.author);
  field(4, row.text);
};

template <class Row, class Fields>
std::string EncodeRow(Table table, const Row& row, const Fields& fields) {
  RecordWriter out(table);
  fields(row, [&](std::uint32_t number, const auto& value, auto... more) {
    Write(out, number, value, more...);
  });
  return std::move(out).Finish();
}

// Fills `row`; what is wrong stays in the reader.
template <class Row, class Fields>
void ReadRow(RecordReader& in, Row& row, const Fields& fields) {
  bool there = in.Next();
  const auto skip = [&in] {
    in.Unknown();
    return in.Next();
  };
  fields(row, [&](std::uint32_t number, auto& value, auto... more) {
    while (there && in.field() < number) there = skip();
    if (!there || in.field() != number) return;
    Read(in, value, more...);
    there = in.Next();
  });
  while (there) there = skip();
}

// The row, or what was wrong with it. Every row of an id table has an id.
template <class Row>
core::Result<Row> Finish(RecordReader& reader, Row row) {
  if constexpr (requires { row.id; }) {
    if (row.id == 0) reader.Corrupt("it has no id");
  }
  if (auto result = reader.Finish(); !result) return core::Forward(result);
  return row;
}

template <class Row, class Fields>
core::Result<Row> DecodeRow(Table table, std::string_view record, const Fields& fields) {
  RecordReader in(table, record);
  Row row;
  ReadRow(in, row, fields);
  return Finish(in, std::move(row));
}

template <class Row>
core::Result<> CheckId(const core::Result<Row>& row, std::string_view key, Table table) {
  if (!row) return std::unexpected(row.error());
  if (ParseIdKey(key) == row->id) return {};
  return core::Fail(core::ErrorCode::kCorrupt, "a record of table " +
                                                   std::string(TableName(table)) +
                                                   " is damaged: it lies under another's key");
}

}  // namespace

std::string Encode(const MetaRow& row) {
  return EncodeRow(Table::kMeta, row, kMetaFields);
}

core::Result<MetaRow> DecodeMeta(std::string_view record) {
  RecordReader in(Table::kMeta, record);
  MetaRow row{0, 0, 0, 0, 0, 0, {}};
  ReadRow(in, row, kMetaFields);
  if (row.schema_version == 0) in.Corrupt("it has no schema version");
  return Finish(in, std::move(row));
}

core::Result<std::uint32_t> PeekSchemaVersion(std::string_view meta_record) {
  RecordReader in(Table::kMeta, meta_record);
  std::uint32_t version = 0;
  if (in.Next() && in.field() == kSchemaVersionField) in.U32(version);
  if (version == 0) in.Corrupt("it has no schema version");
  return Finish(in, version);
}

std::string Encode(const UserRow& row) {
  return EncodeRow(Table::kUsers, row, kUserFields);
}

core::Result<UserRow> DecodeUser(std::string_view record) {
  return DecodeRow<UserRow>(Table::kUsers, record, kUserFields);
}

std::string Encode(const NodeRow& row) {
  return EncodeRow(Table::kNodes, row, kNodeFields);
}

core::Result<NodeRow> DecodeNode(std::string_view record) {
  return DecodeRow<NodeRow>(Table::kNodes, record, kNodeFields);
}

std::string Encode(const PreAuthKeyRow& row) {
  return EncodeRow(Table::kPreAuthKeys, row, kPreAuthKeyFields);
}

core::Result<PreAuthKeyRow> DecodePreAuthKey(std::string_view record) {
  return DecodeRow<PreAuthKeyRow>(Table::kPreAuthKeys, record, kPreAuthKeyFields);
}

std::string Encode(const PolicyRow& row) {
  return EncodeRow(Table::kPolicies, row, kPolicyFields);
}

core::Result<PolicyRow> DecodePolicy(std::string_view record) {
  return DecodeRow<PolicyRow>(Table::kPolicies, record, kPolicyFields);
}

core::Result<> VerifyFrame(Table table, std::string_view record) {
  RecordReader in(table, record);
  while (in.Next()) {
  }
  return in.Finish();
}

core::Result<> VerifyRecord(Table table, std::string_view key, std::string_view record) {
  switch (table) {
    case Table::kMeta: {
      if (key != kMetaKey) {
        return core::Fail(core::ErrorCode::kCorrupt, "table meta holds an unknown record");
      }
      auto row = DecodeMeta(record);
      if (!row) return core::Forward(row);
      return {};
    }
    case Table::kUsers:
      return CheckId(DecodeUser(record), key, table);
    case Table::kNodes:
      return CheckId(DecodeNode(record), key, table);
    case Table::kPreAuthKeys:
      return CheckId(DecodePreAuthKey(record), key, table);
    case Table::kPolicies:
      return CheckId(DecodePolicy(record), key, table);
    case Table::kApiKeys:
      return VerifyFrame(table, record);
  }
  return core::Fail(core::ErrorCode::kCorrupt, "a record of an unknown table");
}

}  // namespace ringscale::storage
