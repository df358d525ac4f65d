// Schema versions: migrations with a list of our own, newer ones refused.
#include "storage/commit/migrations.h"

#include <gtest/gtest.h>

#include "storage/codec/keys.h"
#include "storage/codec/rows.h"
#include "tests/storage/storage_support.h"

namespace ringscale::storage {
namespace {

using core::ErrorCode;

// 1 -> 2: users get an e-mail address. 2 -> 3: pre-auth keys go.
std::vector<Migration> TwoSteps() {
  return {
      {1,
       [](MigrationTarget& target) -> core::Result<> {
         std::vector<std::pair<std::string, std::string>> changed;
         auto visited = target.Visit(
             Table::kUsers, [&](std::string_view key, std::string_view value) -> core::Result<> {
               auto user = DecodeUser(value);
               if (!user) return core::Forward(user);
               user->email = user->name + "@v2";
               changed.emplace_back(key, Encode(*user));
               return {};
             });
         if (!visited) return visited;
         for (const auto& [key, value] : changed) {
           if (auto put = target.Put(Table::kUsers, key, value); !put) return put;
         }
         return {};
       }},
      {2, [](MigrationTarget& target) { return target.Delete(Table::kPreAuthKeys, IdKey(3)); }}};
}

class MigrationTest : public testing::Test {
 protected:
  void SetUp() override {
    auto store = OpenStore(options_);
    WriteBatch batch;
    for (std::uint64_t id = 1; id <= 200; ++id) {
      batch.Put(Table::kUsers, IdKey(id), Encode(SampleUser(id)));
    }
    batch.Put(Table::kPreAuthKeys, IdKey(3), Encode(SampleKey(3)));
    ASSERT_TRUE(CommitNow(*store, std::move(batch)));
    before_ = ReadAll(*store);
  }
  LmdbOptions Newer(std::uint32_t version, const std::vector<Migration>& migrations) {
    LmdbOptions options = options_;
    options.schema_version = version;
    options.migrations = &migrations;
    return options;
  }

  tests::TempFolder dir_;
  LmdbOptions options_ = TestOptions(dir_);
  Content before_;
};

TEST_F(MigrationTest, RunsEveryStepAndKeepsACopy) {
  const auto steps = TwoSteps();
  {
    auto store = OpenStore(Newer(3, steps));
    const Content content = ReadAll(*store);
    EXPECT_EQ(content.size(), before_.size() - 1);
    EXPECT_EQ(DecodeUser(content.at({Table::kUsers, IdKey(200)}))->email, "user200@v2");
    EXPECT_EQ(DecodeMeta(content.at({Table::kMeta, std::string(kMetaKey)}))->schema_version, 3U);
    EXPECT_TRUE(CommitNow(*store, PutUser(500)));
  }
  // The second start has nothing to do.
  EXPECT_TRUE(HasUser(*OpenStore(Newer(3, steps)), 500));

  LmdbOptions copy = options_;
  copy.path += ".schema-1";
  EXPECT_EQ(ReadAll(*OpenStore(copy)), before_);
}

TEST_F(MigrationTest, GrowsTheMapWhenItMust) {
  std::vector<Migration> steps = {{1, [](MigrationTarget& target) -> core::Result<> {
                                     UserRow large = SampleUser(900);
                                     large.display_name.assign(6 << 20, 'x');
                                     return target.Put(Table::kUsers, IdKey(900), Encode(large));
                                   }}};
  EXPECT_TRUE(HasUser(*OpenStore(Newer(2, steps)), 900));
}

TEST_F(MigrationTest, AFailedStepChangesNothing) {
  auto steps = TwoSteps();
  steps[1].run = [](MigrationTarget&) {
    return core::Result<>(core::Fail(ErrorCode::kInternal, "cannot"));
  };
  const auto store = LmdbStore::Open(Newer(3, steps));
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().message, "cannot");
  EXPECT_EQ(ReadAll(*OpenStore(options_)), before_);
}

TEST_F(MigrationTest, AMissingStepIsSaid) {
  std::vector<Migration> steps = {TwoSteps()[1]};
  const auto store = LmdbStore::Open(Newer(3, steps));
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(store.error().message.find("schema version 1"), std::string::npos);
  EXPECT_EQ(ReadAll(*OpenStore(options_)), before_);
}

TEST_F(MigrationTest, AnOlderProgramRefusesANewerDatabase) {
  const auto steps = TwoSteps();
  OpenStore(Newer(3, steps)).reset();
  const auto store = LmdbStore::Open(options_);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(store.error().message.find("schema version 3, written by a newer ringscale"),
            std::string::npos)
      << store.error().message;
}

TEST(Migrations, LeadFromEveryReleasedVersionToThisOne) {
  std::uint32_t version = 1;
  for (const auto& migration : Migrations()) EXPECT_EQ(migration.from, version++);
  EXPECT_EQ(version, kSchemaVersion);
}

}  // namespace
}  // namespace ringscale::storage
