#include "storage/codec/rows.h"

#include <algorithm>
#include <array>
#include <utility>

#include "storage/codec/keys.h"
#include "storage/codec/record.h"

namespace ringscale::storage {
namespace {

// Field numbers are on disk: never reuse one, never change what one means.
namespace meta_field {
enum : std::uint32_t {
  kSchemaVersion = 1,
  kNextUserId,
  kNextNodeId,
  kNextPreAuthKeyId,
  kNextApiKeyId,
  kNextPolicyVersion,
  kServerId,
};
}
namespace user_field {
enum : std::uint32_t { kId = 1, kName, kDisplayName, kEmail, kPictureUrl, kProvider, kCreated };
}
namespace node_field {
enum : std::uint32_t {
  kId = 1,
  kStableId,
  kMachineKey,
  kNodeKey,
  kDiscoKey,
  kUserId,
  kTags,
  kHostname,
  kGivenName,
  kIpv4,
  kIpv6,
  kCreated,
  kExpiry,
  kLastSeen,
  kEphemeral,
  kMethod,
  kAuthKeyId,
  kEverPolled,
  kCapabilityVersion,
  kHostinfo,
  kApprovedRoutes,
  // Without it the server chooses among the routers anew at its next start.
  kPrimaryRoutes = kFirstIgnorable,
  // Without it somebody is asked once more.
  kSshApprovals,
};
}
namespace policy_field {
enum : std::uint32_t { kId = 1, kCreated, kAuthor, kText };
}
namespace key_field {
enum : std::uint32_t {
  kId = 1,
  kPrefix,
  kSecretHash,
  kLegacyHash,
  kUserId,
  kTags,
  kReusable,
  kEphemeral,
  kUsed,
  kRevoked,
  kUsedBy,
  kCreated,
  kExpiry,
};
}

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

// The row, or what was wrong with it. Every row of an id table has an id.
template <class Row>
core::Result<Row> Finish(RecordReader& reader, Row row) {
  if constexpr (requires { row.id; }) {
    if (row.id == 0) reader.Corrupt("it has no id");
  }
  if (auto result = reader.Finish(); !result) return core::Forward(result);
  return row;
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
  using namespace meta_field;
  RecordWriter out(Table::kMeta);
  out.U64(kSchemaVersion, row.schema_version);
  out.U64(kNextUserId, row.next_user_id);
  out.U64(kNextNodeId, row.next_node_id);
  out.U64(kNextPreAuthKeyId, row.next_pre_auth_key_id);
  out.U64(kNextApiKeyId, row.next_api_key_id);
  out.U64(kNextPolicyVersion, row.next_policy_version);
  out.Text(kServerId, row.server_id);
  return std::move(out).Finish();
}

core::Result<MetaRow> DecodeMeta(std::string_view record) {
  using namespace meta_field;
  RecordReader in(Table::kMeta, record);
  MetaRow row{0, 0, 0, 0, 0, 0, {}};
  while (in.Next()) {
    switch (in.field()) {
      case kSchemaVersion:
        in.U32(row.schema_version);
        break;
      case kNextUserId:
        in.U64(row.next_user_id);
        break;
      case kNextNodeId:
        in.U64(row.next_node_id);
        break;
      case kNextPreAuthKeyId:
        in.U64(row.next_pre_auth_key_id);
        break;
      case kNextApiKeyId:
        in.U64(row.next_api_key_id);
        break;
      case kNextPolicyVersion:
        in.U64(row.next_policy_version);
        break;
      case kServerId:
        in.Text(row.server_id);
        break;
      default:
        in.Unknown();
    }
  }
  if (row.schema_version == 0) in.Corrupt("it has no schema version");
  return Finish(in, std::move(row));
}

core::Result<std::uint32_t> PeekSchemaVersion(std::string_view meta_record) {
  RecordReader in(Table::kMeta, meta_record);
  std::uint32_t version = 0;
  if (in.Next() && in.field() == meta_field::kSchemaVersion) in.U32(version);
  if (version == 0) in.Corrupt("it has no schema version");
  return Finish(in, version);
}

std::string Encode(const UserRow& row) {
  using namespace user_field;
  RecordWriter out(Table::kUsers);
  out.U64(kId, row.id);
  out.Text(kName, row.name);
  out.Text(kDisplayName, row.display_name);
  out.Text(kEmail, row.email);
  out.Text(kPictureUrl, row.picture_url);
  out.Text(kProvider, row.provider);
  out.Time(kCreated, row.created);
  return std::move(out).Finish();
}

core::Result<UserRow> DecodeUser(std::string_view record) {
  using namespace user_field;
  RecordReader in(Table::kUsers, record);
  UserRow row;
  while (in.Next()) {
    switch (in.field()) {
      case kId:
        in.U64(row.id);
        break;
      case kName:
        in.Text(row.name);
        break;
      case kDisplayName:
        in.Text(row.display_name);
        break;
      case kEmail:
        in.Text(row.email);
        break;
      case kPictureUrl:
        in.Text(row.picture_url);
        break;
      case kProvider:
        in.Text(row.provider);
        break;
      case kCreated:
        in.Time(row.created);
        break;
      default:
        in.Unknown();
    }
  }
  return Finish(in, std::move(row));
}

std::string Encode(const NodeRow& row) {
  using namespace node_field;
  RecordWriter out(Table::kNodes);
  out.U64(kId, row.id);
  out.Text(kStableId, row.stable_id);
  out.Key(kMachineKey, row.machine_key.raw);
  out.Key(kNodeKey, row.node_key.raw);
  out.Key(kDiscoKey, row.disco_key.raw);
  out.U64(kUserId, row.user_id);
  out.Text(kTags, JoinTexts(row.tags));
  out.Text(kHostname, row.hostname);
  out.Text(kGivenName, row.given_name);
  out.Text(kIpv4, AddressBytes(row.ipv4));
  out.Text(kIpv6, AddressBytes(row.ipv6));
  out.Time(kCreated, row.created);
  out.OptionalTime(kExpiry, row.expiry);
  out.OptionalTime(kLastSeen, row.last_seen);
  out.Bool(kEphemeral, row.ephemeral);
  out.U64(kMethod, static_cast<std::uint64_t>(row.method));
  out.U64(kAuthKeyId, row.auth_key_id);
  out.Bool(kEverPolled, row.ever_polled);
  out.U64(kCapabilityVersion, row.capability_version);
  out.Text(kHostinfo, row.hostinfo);
  out.Text(kApprovedRoutes, JoinPrefixes(row.approved_routes));
  out.Text(kPrimaryRoutes, JoinPrefixes(row.primary_routes));
  out.Text(kSshApprovals, JoinApprovals(row.ssh_approvals));
  return std::move(out).Finish();
}

core::Result<NodeRow> DecodeNode(std::string_view record) {
  using namespace node_field;
  RecordReader in(Table::kNodes, record);
  NodeRow row;
  while (in.Next()) {
    switch (in.field()) {
      case kId:
        in.U64(row.id);
        break;
      case kStableId:
        in.Text(row.stable_id);
        break;
      case kMachineKey:
        in.Key(row.machine_key.raw);
        break;
      case kNodeKey:
        in.Key(row.node_key.raw);
        break;
      case kDiscoKey:
        in.Key(row.disco_key.raw);
        break;
      case kUserId:
        in.U64(row.user_id);
        break;
      case kTags:
        SplitTexts(in, row.tags);
        break;
      case kHostname:
        in.Text(row.hostname);
        break;
      case kGivenName:
        in.Text(row.given_name);
        break;
      case kIpv4:
        ReadAddress(in, core::IpAddress::Family::kV4, row.ipv4);
        break;
      case kIpv6:
        ReadAddress(in, core::IpAddress::Family::kV6, row.ipv6);
        break;
      case kCreated:
        in.Time(row.created);
        break;
      case kExpiry:
        in.OptionalTime(row.expiry);
        break;
      case kLastSeen:
        in.OptionalTime(row.last_seen);
        break;
      case kEphemeral:
        in.Bool(row.ephemeral);
        break;
      case kMethod: {
        std::uint64_t method = 0;
        in.U64(method);
        if (method > static_cast<std::uint64_t>(RegisterMethod::kOidc)) {
          in.Corrupt("its register method is unknown");
          break;
        }
        row.method = static_cast<RegisterMethod>(method);
        break;
      }
      case kAuthKeyId:
        in.U64(row.auth_key_id);
        break;
      case kEverPolled:
        in.Bool(row.ever_polled);
        break;
      case kCapabilityVersion:
        in.U32(row.capability_version);
        break;
      case kHostinfo:
        in.Text(row.hostinfo);
        break;
      case kApprovedRoutes:
        SplitPrefixes(in, row.approved_routes);
        break;
      case kPrimaryRoutes:
        SplitPrefixes(in, row.primary_routes);
        break;
      case kSshApprovals:
        SplitApprovals(in, row.ssh_approvals);
        break;
      default:
        in.Unknown();
    }
  }
  return Finish(in, std::move(row));
}

std::string Encode(const PreAuthKeyRow& row) {
  using namespace key_field;
  RecordWriter out(Table::kPreAuthKeys);
  out.U64(kId, row.id);
  out.Text(kPrefix, row.prefix);
  out.Key(kSecretHash, row.secret_hash);
  out.Text(kLegacyHash, row.legacy_hash);
  out.U64(kUserId, row.user_id);
  out.Text(kTags, JoinTexts(row.tags));
  out.Bool(kReusable, row.reusable);
  out.Bool(kEphemeral, row.ephemeral);
  out.Bool(kUsed, row.used);
  out.Bool(kRevoked, row.revoked);
  out.Key(kUsedBy, row.used_by.raw);
  out.Time(kCreated, row.created);
  out.OptionalTime(kExpiry, row.expiry);
  return std::move(out).Finish();
}

core::Result<PreAuthKeyRow> DecodePreAuthKey(std::string_view record) {
  using namespace key_field;
  RecordReader in(Table::kPreAuthKeys, record);
  PreAuthKeyRow row;
  while (in.Next()) {
    switch (in.field()) {
      case kId:
        in.U64(row.id);
        break;
      case kPrefix:
        in.Text(row.prefix);
        break;
      case kSecretHash:
        in.Key(row.secret_hash);
        break;
      case kLegacyHash:
        in.Text(row.legacy_hash);
        break;
      case kUserId:
        in.U64(row.user_id);
        break;
      case kTags:
        SplitTexts(in, row.tags);
        break;
      case kReusable:
        in.Bool(row.reusable);
        break;
      case kEphemeral:
        in.Bool(row.ephemeral);
        break;
      case kUsed:
        in.Bool(row.used);
        break;
      case kRevoked:
        in.Bool(row.revoked);
        break;
      case kUsedBy:
        in.Key(row.used_by.raw);
        break;
      case kCreated:
        in.Time(row.created);
        break;
      case kExpiry:
        in.OptionalTime(row.expiry);
        break;
      default:
        in.Unknown();
    }
  }
  return Finish(in, std::move(row));
}

core::Result<> VerifyFrame(Table table, std::string_view record) {
  RecordReader in(table, record);
  while (in.Next()) {
  }
  return in.Finish();
}

std::string Encode(const PolicyRow& row) {
  using namespace policy_field;
  RecordWriter out(Table::kPolicies);
  out.U64(kId, row.id);
  out.Time(kCreated, row.created);
  out.Text(kAuthor, row.author);
  out.Text(kText, row.text);
  return std::move(out).Finish();
}

core::Result<PolicyRow> DecodePolicy(std::string_view record) {
  using namespace policy_field;
  RecordReader in(Table::kPolicies, record);
  PolicyRow row;
  while (in.Next()) {
    switch (in.field()) {
      case kId:
        in.U64(row.id);
        break;
      case kCreated:
        in.Time(row.created);
        break;
      case kAuthor:
        in.Text(row.author);
        break;
      case kText:
        in.Text(row.text);
        break;
      default:
        in.Unknown();
    }
  }
  return Finish(in, std::move(row));
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
