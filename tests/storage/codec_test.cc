// storage/codec: records and keys.
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "core/base/hex.h"
#include "storage/codec/checksum.h"
#include "storage/codec/keys.h"
#include "storage/codec/record.h"
#include "storage/codec/rows.h"
#include "tests/storage/storage_support.h"

namespace ringscale::storage {
namespace {

using core::ErrorCode;

// A record with the right frame around any fields.
std::string Frame(Table table, std::string_view fields, char version = kRecordFormat) {
  std::string record{version, static_cast<char>(table)};
  record += fields;
  std::uint8_t crc[4];
  core::StoreBe32(crc, Crc32c(core::AsBytes(record)));
  record += core::AsText(crc);
  return record;
}

template <class Result>
ErrorCode CodeOf(const Result& result) {
  EXPECT_FALSE(result.has_value());
  return result ? ErrorCode::kInternal : result.error().code;
}

TEST(Checksum, IsCrc32c) {
  EXPECT_EQ(Crc32c(core::AsBytes("123456789")), 0xE3069283U);
  EXPECT_EQ(Crc32c({}), 0U);
  const std::string zeros(32, '\0');  // RFC 3720 B.4
  EXPECT_EQ(Crc32c(core::AsBytes(zeros)), 0x8A9136AAU);
}

TEST(Checksum, ContinuesOverPieces) {
  std::string text;
  for (int i = 0; i < 300; ++i) text.push_back(static_cast<char>(i * 7));
  const auto whole = Crc32c(core::AsBytes(text));
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    const std::string_view view = text;
    EXPECT_EQ(Crc32c(core::AsBytes(view.substr(cut)), Crc32c(core::AsBytes(view.substr(0, cut)))),
              whole);
  }
}

TEST(Keys, SortAsTheirNumbers) {
  EXPECT_LT(IdKey(1), IdKey(2));
  EXPECT_LT(IdKey(255), IdKey(256));
  EXPECT_LT(IdKey(1), IdKey(UINT64_MAX));
  EXPECT_EQ(ParseIdKey(IdKey(0x0102030405060708)), 0x0102030405060708U);
  EXPECT_FALSE(ParseIdKey("1234567"));
  EXPECT_FALSE(ParseIdKey("123456789"));
}

TEST(Records, RoundTripWithEveryField) {
  const NodeRow node = SampleNode(5);
  const auto decoded = DecodeNode(Encode(node));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(Encode(*decoded), Encode(node));
  EXPECT_EQ(decoded->id, 5U);
  EXPECT_EQ(decoded->stable_id, node.stable_id);
  EXPECT_EQ(decoded->machine_key, node.machine_key);
  EXPECT_EQ(decoded->node_key, node.node_key);
  EXPECT_EQ(decoded->disco_key, node.disco_key);
  EXPECT_EQ(decoded->user_id, 7U);
  EXPECT_EQ(decoded->tags, node.tags);
  EXPECT_EQ(decoded->hostname, "Laptop");
  EXPECT_EQ(decoded->given_name, "laptop-1");
  EXPECT_EQ(decoded->ipv4, node.ipv4);
  EXPECT_EQ(decoded->ipv6, node.ipv6);
  EXPECT_EQ(decoded->created, node.created);
  EXPECT_EQ(decoded->expiry, node.expiry);
  EXPECT_EQ(decoded->last_seen, node.last_seen);
  EXPECT_TRUE(decoded->ephemeral);
  EXPECT_EQ(decoded->method, RegisterMethod::kOidc);
  EXPECT_EQ(decoded->auth_key_id, 9U);
  EXPECT_TRUE(decoded->ever_polled);
  EXPECT_EQ(decoded->capability_version, 113U);
  EXPECT_EQ(decoded->hostinfo, node.hostinfo);
  EXPECT_EQ(decoded->approved_routes, node.approved_routes);
  EXPECT_EQ(decoded->primary_routes, node.primary_routes);
  ASSERT_EQ(decoded->ssh_approvals.size(), 2U);
  EXPECT_EQ(decoded->ssh_approvals[1].source, 300U);
  EXPECT_EQ(decoded->ssh_approvals[1].owner, 7U);
  EXPECT_EQ(decoded->ssh_approvals[1].at, node.ssh_approvals[1].at);

  const UserRow user = SampleUser(UINT64_MAX);
  const auto user_back = DecodeUser(Encode(user));
  ASSERT_TRUE(user_back);
  EXPECT_EQ(user_back->id, UINT64_MAX);
  EXPECT_EQ(user_back->email, user.email);
  EXPECT_EQ(user_back->provider, user.provider);
  EXPECT_EQ(user_back->created, user.created);
  EXPECT_EQ(Encode(*user_back), Encode(user));

  const PreAuthKeyRow key = SampleKey(2);
  const auto key_back = DecodePreAuthKey(Encode(key));
  ASSERT_TRUE(key_back);
  EXPECT_EQ(key_back->secret_hash, key.secret_hash);
  EXPECT_EQ(key_back->used_by, key.used_by);
  EXPECT_EQ(key_back->created, key.created);
  EXPECT_EQ(Encode(*key_back), Encode(key));

  const PolicyRow policy{7, core::WallTime{5'000'000'000}, "alice", "{ // rules\n}"};
  const auto policy_back = DecodePolicy(Encode(policy));
  ASSERT_TRUE(policy_back);
  EXPECT_EQ(policy_back->id, 7U);
  EXPECT_EQ(policy_back->created, policy.created);
  EXPECT_EQ(policy_back->author, "alice");
  EXPECT_EQ(policy_back->text, policy.text);
  EXPECT_EQ(Encode(*policy_back), Encode(policy));

  MetaRow meta{1, 2, 3, 4, 5, 6, "0123"};
  const auto meta_back = DecodeMeta(Encode(meta));
  ASSERT_TRUE(meta_back);
  EXPECT_EQ(meta_back->next_node_id, 3U);
  EXPECT_EQ(meta_back->next_policy_version, 6U);
  EXPECT_EQ(meta_back->server_id, "0123");
}

TEST(Records, RoundTripWithDefaults) {
  NodeRow node;
  node.id = 1;
  const auto back = DecodeNode(Encode(node));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_FALSE(back->expiry);
  EXPECT_FALSE(back->ipv4.valid());
  EXPECT_TRUE(back->tags.empty());
  EXPECT_TRUE(back->machine_key.zero());
  EXPECT_EQ(Encode(*back), Encode(node));
}

TEST(Records, KeepEmptyTextsInLists) {
  NodeRow node;
  node.id = 1;
  node.tags = {"", "a", ""};
  const auto back = DecodeNode(Encode(node));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->tags, node.tags);
}

// What is on disk today must be readable for ever: a change of these bytes is a
// change of the format.
TEST(Records, HaveTheBytesOfFormat1) {
  const UserRow user{.id = 300, .name = "ann", .created = {1}};
  EXPECT_EQ(core::HexEncode(core::AsBytes(Encode(user))), "010202ac020503616e6e0e0263f16816");
  // The checksum at a record's end stands for all fields of the row.
  const auto checksum = [](std::string_view record) {
    return core::HexEncode(core::AsBytes(record.substr(record.size() - 4)));
  };
  EXPECT_EQ(checksum(Encode(MetaRow{1, 2, 3, 4, 5, 6, "0123"})), "af99509d");
  EXPECT_EQ(checksum(Encode(SampleUser(UINT64_MAX))), "3fb6ca08");
  EXPECT_EQ(checksum(Encode(SampleNode(5))), "33672481");
  EXPECT_EQ(checksum(Encode(SampleKey(2))), "fb89ddc7");
  EXPECT_EQ(checksum(Encode(PolicyRow{7, {5'000'000'000}, "alice", "{ // rules\n}"})), "80cac423");
}

TEST(Records, RefuseEveryFlippedBitAndEveryCut) {
  const std::string record = Encode(SampleNode(1));
  for (std::size_t bit = 0; bit < record.size() * 8; ++bit) {
    std::string damaged = record;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    EXPECT_EQ(CodeOf(DecodeNode(damaged)), ErrorCode::kCorrupt) << bit;
  }
  for (std::size_t size = 0; size < record.size(); ++size) {
    EXPECT_EQ(CodeOf(DecodeNode(std::string_view(record).substr(0, size))), ErrorCode::kCorrupt);
  }
}

TEST(Records, BelongToTheirTable) {
  EXPECT_EQ(CodeOf(DecodeUser(Encode(SampleNode(1)))), ErrorCode::kCorrupt);
}

TEST(Records, RefuseANewerFormat) {
  const auto result = DecodeUser(Frame(Table::kUsers, "\x02\x01", 2));
  EXPECT_EQ(CodeOf(result), ErrorCode::kUnsupported);
}

TEST(Records, RefuseUnknownFieldsButSkipIgnorableOnes) {
  RecordWriter critical(Table::kUsers);
  critical.U64(1, 5);
  critical.U64(kFirstIgnorable - 1, 1);
  EXPECT_EQ(CodeOf(DecodeUser(std::move(critical).Finish())), ErrorCode::kUnsupported);

  RecordWriter ignorable(Table::kUsers);
  ignorable.U64(1, 5);
  ignorable.U64(kFirstIgnorable, 1);
  ignorable.Text(kFirstIgnorable + 7, "new");
  const auto user = DecodeUser(std::move(ignorable).Finish());
  ASSERT_TRUE(user);
  EXPECT_EQ(user->id, 5U);
}

TEST(Records, RefuseWhatEncodeNeverWrites) {
  const struct {
    const char* what;
    std::string_view fields;
  } cases[] = {
      {"no id", ""},
      {"id zero", {"\x02\x00", 2}},
      {"field twice", "\x02\x01\x02\x02"},
      {"descending fields", "\x05\x01x\x02\x01"},
      {"field number zero", {"\x00\x01", 2}},
      {"longer varint than needed", {"\x02\x81\x00", 3}},
      {"varint over 64 bits", "\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"},
      {"cut varint", "\x02\x81"},
      {"text as number", "\x02\x01\x04\x01"},
      {"number as text", "\x03\x01x"},
      {"empty text", {"\x02\x01\x05\x00", 4}},
      {"text beyond the end", "\x02\x01\x05\x7fx"},
      {"time zero", {"\x02\x01\x0e\x00", 4}},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(CodeOf(DecodeUser(Frame(Table::kUsers, c.fields))), ErrorCode::kCorrupt) << c.what;
  }
  const struct {
    const char* what;
    std::string_view fields;
  } node_cases[] = {
      {"bool two", "\x02\x01\x1e\x02"},
      {"key of 3 bytes",
       "\x02\x01\x07\x03"
       "abc"},
      {"list beyond its end", "\x02\x01\x0f\x02\x05x"},
      {"v4 address of 5 bytes",
       "\x02\x01\x15\x05"
       "12345"},
      {"v6 address of 4 bytes",
       "\x02\x01\x17\x04"
       "1234"},
      {"unknown method", "\x02\x01\x20\x04"},
      {"capability over 32 bits", "\x02\x01\x26\xff\xff\xff\xff\x7f"},
      {"route of length 33", "\x02\x01\x2b\x06\x04\x0a\x01\x01\x01\x21"},
      {"route cut off", "\x02\x01\x2b\x05\x04\x0a\x01\x01\x01"},
      {"route without address", {"\x02\x01\x2b\x02\x00\x00", 6}},
  };
  for (const auto& c : node_cases) {
    EXPECT_EQ(CodeOf(DecodeNode(Frame(Table::kNodes, c.fields))), ErrorCode::kCorrupt) << c.what;
  }
}

TEST(Records, VerifyChecksTheKey) {
  EXPECT_TRUE(VerifyRecord(Table::kUsers, IdKey(4), Encode(SampleUser(4))));
  EXPECT_EQ(CodeOf(VerifyRecord(Table::kUsers, IdKey(5), Encode(SampleUser(4)))),
            ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(VerifyRecord(Table::kNodes, "x", Encode(SampleNode(4)))), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(VerifyRecord(Table::kMeta, "other", Encode(MetaRow{}))), ErrorCode::kCorrupt);
  EXPECT_TRUE(VerifyRecord(Table::kMeta, kMetaKey, Encode(MetaRow{})));
  EXPECT_TRUE(VerifyRecord(Table::kApiKeys, IdKey(1), RecordWriter(Table::kApiKeys).Finish()));
  EXPECT_TRUE(VerifyRecord(Table::kPolicies, IdKey(3), Encode(PolicyRow{3, {}, "", "{}"})));
  EXPECT_EQ(CodeOf(VerifyRecord(Table::kPolicies, IdKey(4), Encode(PolicyRow{3, {}, "", "{}"}))),
            ErrorCode::kCorrupt);
  EXPECT_EQ(
      CodeOf(VerifyRecord(Table::kPolicies, IdKey(1), RecordWriter(Table::kPolicies).Finish())),
      ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(VerifyRecord(static_cast<Table>(77), "k", "v")), ErrorCode::kCorrupt);
}

TEST(Records, SchemaVersionIsReadFromAnyVersionsMetaRecord) {
  MetaRow meta;
  meta.schema_version = 9;
  EXPECT_EQ(PeekSchemaVersion(Encode(meta)), 9U);
  RecordWriter future(Table::kMeta);
  future.U64(1, 12);
  future.U64(500, 1);
  EXPECT_EQ(PeekSchemaVersion(std::move(future).Finish()), 12U);
  EXPECT_EQ(CodeOf(PeekSchemaVersion(RecordWriter(Table::kMeta).Finish())), ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace ringscale::storage
