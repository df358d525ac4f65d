// LmdbStore: commits, order, groups, growth, trouble with the disk.
#include "storage/commit/lmdb_store.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <future>
#include <vector>

#include "storage/codec/keys.h"
#include "storage/codec/rows.h"
#include "storage/memory_store.h"
#include "tests/storage/storage_support.h"

namespace ringscale::storage {
namespace {

using core::ErrorCode;

WriteBatch PutLarge(std::uint64_t id, std::size_t bytes) {
  UserRow row = SampleUser(id);
  row.display_name.assign(bytes, 'x');
  WriteBatch batch;
  batch.Put(Table::kUsers, IdKey(id), Encode(row));
  return batch;
}

// Holds the writer thread in a `done` until released, so that batches queue up.
class WriterHold {
 public:
  explicit WriterHold(Store& store) {
    store.Commit(PutUser(1'000'000), [this](core::Result<>) {
      held_.set_value();
      release_.get_future().wait();
    });
    held_.get_future().wait();
  }
  void Release() { release_.set_value(); }

 private:
  std::promise<void> held_;
  std::promise<void> release_;
};

TEST(LmdbStore, StartsWithAFreshMetaRow) {
  tests::TempFolder dir;
  auto store = OpenStore(TestOptions(dir));
  const Content content = ReadAll(*store);
  ASSERT_EQ(content.size(), 1U);
  const auto meta = DecodeMeta(content.at({Table::kMeta, std::string(kMetaKey)}));
  ASSERT_TRUE(meta);
  EXPECT_EQ(meta->schema_version, kSchemaVersion);
  EXPECT_EQ(meta->next_node_id, 1U);
  EXPECT_EQ(meta->server_id.size(), 32U);
  EXPECT_TRUE(store->Health());
}

TEST(LmdbStore, KeepsWhatWasCommitted) {
  tests::TempFolder dir;
  Content before;
  {
    auto store = OpenStore(TestOptions(dir));
    WriteBatch batch = PutUser(1);
    batch.Put(Table::kNodes, IdKey(2), Encode(SampleNode(2)));
    batch.Put(Table::kPreAuthKeys, IdKey(3), Encode(SampleKey(3)));
    ASSERT_TRUE(CommitNow(*store, std::move(batch)));
    ASSERT_TRUE(CommitNow(*store, PutUser(4)));
    WriteBatch remove;
    remove.Delete(Table::kUsers, IdKey(4));
    remove.Delete(Table::kUsers, IdKey(99));  // was never there
    ASSERT_TRUE(CommitNow(*store, std::move(remove)));
    before = ReadAll(*store);
  }
  auto store = OpenStore(TestOptions(dir));
  EXPECT_EQ(ReadAll(*store), before);
  EXPECT_EQ(before.size(), 4U);
  EXPECT_TRUE(std::filesystem::exists(dir / "ringscale.db"));
  EXPECT_EQ(std::filesystem::status(dir / "ringscale.db").permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST(LmdbStore, WalksTablesInKeyOrder) {
  tests::TempFolder dir;
  auto store = OpenStore(TestOptions(dir));
  for (const std::uint64_t id : {300U, 2U, 70000U, 1U}) {
    ASSERT_TRUE(CommitNow(*store, PutUser(id)));
  }
  std::vector<std::uint64_t> ids;
  ASSERT_TRUE(store->LoadAll([&](Table table, std::string_view key, std::string_view) {
    if (table == Table::kUsers) ids.push_back(*ParseIdKey(key));
    return core::Result<>{};
  }));
  EXPECT_EQ(ids, (std::vector<std::uint64_t>{1, 2, 300, 70000}));
}

TEST(LmdbStore, LoadStopsAtTheVisitorsError) {
  tests::TempFolder dir;
  auto store = OpenStore(TestOptions(dir));
  const auto result = store->LoadAll([](Table, std::string_view, std::string_view) {
    return core::Result<>(core::Fail(ErrorCode::kConflict, "enough"));
  });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "enough");
}

TEST(LmdbStore, CommitsAQueueAsOneGroupInOrder) {
  tests::TempFolder dir;
  auto store = OpenStore(TestOptions(dir));
  std::vector<int> order;
  {
    WriterHold hold(*store);
    const auto commits = store->counters().commits.Value();
    for (int i = 0; i < 500; ++i) {
      // The same record each time: the last one must win.
      UserRow row = SampleUser(1);
      row.name = std::to_string(i);
      WriteBatch batch;
      batch.Put(Table::kUsers, IdKey(1), Encode(row));
      store->Commit(std::move(batch), [&order, i](core::Result<> result) {
        EXPECT_TRUE(result);
        order.push_back(i);
      });
    }
    hold.Release();
    store->Close();
    EXPECT_EQ(store->counters().commits.Value(), commits + 1);
  }
  ASSERT_EQ(order.size(), 500U);
  for (int i = 0; i < 500; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
  store.reset();
  store = OpenStore(TestOptions(dir));
  const auto content = ReadAll(*store);
  EXPECT_EQ(DecodeUser(content.at({Table::kUsers, IdKey(1)}))->name, "499");
}

TEST(LmdbStore, OnlyTheGuiltyBatchOfAGroupFails) {
  tests::TempFolder dir;
  LmdbOptions options = TestOptions(dir);
  options.max_map_bytes = 4 << 20;
  auto store = OpenStore(options);
  std::vector<bool> outcomes;
  WriterHold hold(*store);
  const auto note = [&outcomes](core::Result<> result) {
    outcomes.push_back(result.has_value());
    if (!result) {
      EXPECT_EQ(result.error().code, ErrorCode::kLimit) << result.error().message;
    }
  };
  store->Commit(PutUser(1), note);
  store->Commit(PutLarge(2, 6 << 20), note);  // larger than the database may be
  store->Commit(PutUser(3), note);
  hold.Release();
  store->Close();
  EXPECT_EQ(outcomes, (std::vector<bool>{true, false, true}));
  store.reset();
  store = OpenStore(options);
  EXPECT_TRUE(HasUser(*store, 1));
  EXPECT_FALSE(HasUser(*store, 2));
  EXPECT_TRUE(HasUser(*store, 3));
}

TEST(LmdbStore, RefusesImpossibleChanges) {
  tests::TempFolder dir;
  auto store = OpenStore(TestOptions(dir));
  const auto refused = [&](Table table, std::string key, std::optional<std::string> value) {
    WriteBatch batch = PutUser(5);
    if (value) {
      batch.Put(table, std::move(key), std::move(*value));
    } else {
      batch.Delete(table, std::move(key));
    }
    const auto result = CommitNow(*store, std::move(batch));
    return !result && result.error().code == ErrorCode::kInvalid;
  };
  EXPECT_TRUE(refused(static_cast<Table>(0), "k", "v"));
  EXPECT_TRUE(refused(static_cast<Table>(200), "k", "v"));
  EXPECT_TRUE(refused(Table::kUsers, "", "v"));
  EXPECT_TRUE(refused(Table::kUsers, std::string(512, 'k'), "v"));
  EXPECT_TRUE(refused(Table::kMeta, std::string(kMetaKey), std::nullopt));
  EXPECT_TRUE(refused(Table::kMeta, "other", "v"));
  MetaRow newer;
  newer.schema_version = kSchemaVersion + 1;
  EXPECT_TRUE(refused(Table::kMeta, std::string(kMetaKey), Encode(newer)));
  EXPECT_FALSE(HasUser(*store, 5)) << "a batch is stored as a whole or not at all";
  EXPECT_TRUE(store->Health()) << "a refused batch says nothing about the disk";

  MetaRow advanced;
  advanced.next_node_id = 17;
  WriteBatch batch;
  batch.Put(Table::kMeta, std::string(kMetaKey), Encode(advanced));
  EXPECT_TRUE(CommitNow(*store, std::move(batch)));
}

TEST(LmdbStore, GrowsUntilItsLimitAndStaysUsable) {
  tests::TempFolder dir;
  LmdbOptions options = TestOptions(dir);
  options.max_map_bytes = 8 << 20;
  auto store = OpenStore(options);
  std::uint64_t stored = 0;
  core::Result<> result;
  while ((result = CommitNow(*store, PutLarge(stored + 1, 200'000)))) ++stored;
  EXPECT_GT(stored, 20U);
  EXPECT_EQ(result.error().code, ErrorCode::kLimit);
  EXPECT_NE(result.error().message.find("8 MiB"), std::string::npos) << result.error().message;
  EXPECT_FALSE(store->Health());
  WriteBatch remove;
  remove.Delete(Table::kUsers, IdKey(1));
  remove.Delete(Table::kUsers, IdKey(2));
  EXPECT_TRUE(CommitNow(*store, std::move(remove)));
  EXPECT_TRUE(store->Health());
  store.reset();
  store = OpenStore(options);
  EXPECT_EQ(ReadAll(*store).size(), stored - 2 + 1);
}

TEST(LmdbStore, BoundsWhatWaits) {
  tests::TempFolder dir;
  LmdbOptions options = TestOptions(dir);
  options.max_queued_bytes = 100'000;
  auto store = OpenStore(options);
  std::vector<bool> outcomes;
  WriterHold hold(*store);
  const auto note = [&](core::Result<> result) {
    outcomes.push_back(result.has_value());
    if (!result) {
      EXPECT_EQ(result.error().code, ErrorCode::kLimit);
    }
  };
  store->Commit(PutLarge(1, 60'000), note);
  store->Commit(PutLarge(2, 60'000), note);
  store->Commit(PutUser(3), note);
  hold.Release();
  store->Close();
  EXPECT_EQ(outcomes, (std::vector<bool>{true, false, true}));
}

TEST(LmdbStore, CloseCommitsWhatIsQueuedAndRefusesMore) {
  tests::TempFolder dir;
  auto store = OpenStore(TestOptions(dir));
  int good = 0;
  for (std::uint64_t id = 1; id <= 200; ++id) {
    store->Commit(PutUser(id), [&](core::Result<> result) { good += result.has_value(); });
  }
  store->Close();
  EXPECT_EQ(good, 200);
  const auto late = CommitNow(*store, PutUser(201));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::kClosed);
  store->Close();
}

TEST(LmdbStore, AFailedSyncFailsTheBatchAndNothingElse) {
  tests::TempFolder dir;
  auto store = OpenStore(TestOptions(dir));
  ASSERT_TRUE(CommitNow(*store, PutUser(1)));
  FailDisk(DiskCall::kSync, 1, EIO);
  const auto failed = CommitNow(*store, PutUser(2));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::kIo);
  EXPECT_FALSE(store->Health());
  ASSERT_TRUE(CommitNow(*store, PutUser(3)));
  EXPECT_TRUE(store->Health());
  store.reset();
  store = OpenStore(TestOptions(dir));
  EXPECT_TRUE(HasUser(*store, 1));
  EXPECT_FALSE(HasUser(*store, 2));
  EXPECT_TRUE(HasUser(*store, 3));
}

// Whichever write of a commit fails, the pages or the meta page that makes them
// count: LMDB gives up an environment whose meta page could not be written.
TEST(LmdbStore, SurvivesAFailedWriteAtEveryPlace) {
  std::uint64_t reopens = 0;
  int failed = 0;
  for (int skip = 0; skip < 8; ++skip) {
    tests::TempFolder dir;
    auto store = OpenStore(TestOptions(dir));
    ASSERT_TRUE(CommitNow(*store, PutUser(1)));
    FailDisk(DiskCall::kWrite, 1, EIO, skip);
    const bool stored = CommitNow(*store, PutUser(2)).has_value();
    FailDisk(DiskCall::kWrite, 0, 0);
    failed += !stored;
    const auto after = CommitNow(*store, PutUser(3));
    ASSERT_TRUE(after) << skip << ": " << after.error().message;
    reopens += store->counters().reopens.Value();
    store.reset();
    store = OpenStore(TestOptions(dir));
    EXPECT_TRUE(HasUser(*store, 1));
    EXPECT_EQ(HasUser(*store, 2), stored) << skip;
    EXPECT_TRUE(HasUser(*store, 3));
  }
  EXPECT_GT(failed, 0);
  EXPECT_GT(reopens, 0U);
}

TEST(LmdbStore, AReadOnlyFileSystemFailsCommitsUntilItCanBeWritten) {
  tests::TempFolder dir;
  auto store = OpenStore(TestOptions(dir));
  ASSERT_TRUE(CommitNow(*store, PutUser(1)));
  FailDisk(DiskCall::kWrite, 1000, EROFS);
  for (std::uint64_t id = 2; id < 5; ++id) {
    const auto failed = CommitNow(*store, PutUser(id));
    ASSERT_FALSE(failed);
    EXPECT_NE(failed.error().message.find("must be writable"), std::string::npos)
        << failed.error().message;
    EXPECT_FALSE(store->Health());
  }
  FailDisk(DiskCall::kWrite, 0, 0);
  ASSERT_TRUE(CommitNow(*store, PutUser(5)));
  EXPECT_TRUE(store->Health());
  store.reset();
  store = OpenStore(TestOptions(dir));
  EXPECT_TRUE(HasUser(*store, 1));
  EXPECT_FALSE(HasUser(*store, 2));
  EXPECT_TRUE(HasUser(*store, 5));
}

TEST(LmdbStore, SaysThatTheDiskIsFullAndGoesOn) {
  // A file size limit stands in for the full disk; it needs no privilege.
  const int code = InChild([] {
    ::signal(SIGXFSZ, SIG_IGN);
    tests::TempFolder dir;
    auto store = OpenStore(TestOptions(dir));
    if (!CommitNow(*store, PutUser(1))) return 1;
    rlimit limit{400'000, 400'000};
    limit.rlim_max = RLIM_INFINITY;
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
    std::uint64_t id = 2;
    core::Result<> result;
    while (id < 100 && (result = CommitNow(*store, PutLarge(id, 50'000)))) ++id;
    if (result) return 3;
    if (result.error().code != ErrorCode::kIo) return 4;
    if (store->Health()) return 5;
    limit.rlim_cur = RLIM_INFINITY;
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 6;
    if (!CommitNow(*store, PutUser(200))) return 7;
    if (!store->Health()) return 8;
    store.reset();
    store = OpenStore(TestOptions(dir));
    if (ReadAll(*store).size() != id - 1 + 1 + 1) return 9;  // users, user 200, meta
    return 0;
  });
  EXPECT_EQ(code, 0);
}

// As root: a file system that is really full, and one that turns read-only.
class OwnFileSystem : public testing::Test {
 protected:
  void SetUp() override {
    if (::mount("none", dir_.path().c_str(), "tmpfs", 0, "size=600k") != 0) {
      GTEST_SKIP() << "mounting needs root";
    }
    mounted_ = true;
  }
  void TearDown() override {
    if (mounted_) ::umount2(dir_.path().c_str(), MNT_DETACH);
  }
  tests::TempFolder dir_;
  bool mounted_ = false;
};

TEST_F(OwnFileSystem, FullDiskFailsCommitsUntilThereIsSpace) {
  WriteText(dir_ / "ballast", std::string(100'000, 'b'));
  auto store = OpenStore(TestOptions(dir_));
  std::uint64_t id = 1;
  core::Result<> result;
  while (id < 100 && (result = CommitNow(*store, PutLarge(id, 50'000)))) ++id;
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("disk is full"), std::string::npos)
      << result.error().message;
  EXPECT_FALSE(store->Health());
  ASSERT_TRUE(std::filesystem::remove(dir_ / "ballast"));
  EXPECT_TRUE(CommitNow(*store, PutUser(500)));
  EXPECT_TRUE(store->Health());
  store.reset();
  store = OpenStore(TestOptions(dir_));
  EXPECT_TRUE(HasUser(*store, 500));
  EXPECT_TRUE(HasUser(*store, id - 1));
  EXPECT_FALSE(HasUser(*store, id));
}

TEST_F(OwnFileSystem, ReadOnlyDirectoryIsRefusedAtStart) {
  OpenStore(TestOptions(dir_)).reset();
  ASSERT_EQ(::mount("none", dir_.path().c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr), 0);
  const auto store = LmdbStore::Open(TestOptions(dir_));
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, ErrorCode::kIo);
  EXPECT_NE(store.error().message.find("writable"), std::string::npos) << store.error().message;
}

TEST(MemoryStore, CompletesOnDemandAndFailsOnDemand) {
  MemoryStore store(MemoryStore::Mode::kManual);
  std::vector<std::string> seen;
  const auto note = [&](const char* name) {
    return [&seen, name](core::Result<> result) {
      seen.push_back(std::string(name) + (result ? " ok" : " " + result.error().message));
    };
  };
  store.Commit(PutUser(1), note("a"));
  store.Commit(PutUser(2), note("b"));
  store.Commit(PutUser(3), note("c"));
  EXPECT_TRUE(seen.empty());
  EXPECT_TRUE(store.CompleteNext());
  EXPECT_TRUE(store.FailNext({ErrorCode::kIo, "disk full"}));
  EXPECT_FALSE(store.Health());
  EXPECT_EQ(store.CompleteAll(), 1U);
  EXPECT_EQ(seen, (std::vector<std::string>{"a ok", "b disk full", "c ok"}));
  EXPECT_TRUE(store.Get(Table::kUsers, IdKey(1)));
  EXPECT_FALSE(store.Get(Table::kUsers, IdKey(2)));
  EXPECT_TRUE(store.Health());

  store.Commit(PutUser(4), note("lost"));
  store.DropPending();
  MemoryStore restarted(MemoryStore::Mode::kImmediate, store.records());
  EXPECT_FALSE(HasUser(restarted, 4));
  EXPECT_TRUE(HasUser(restarted, 3));
  restarted.FailCommits(1, {ErrorCode::kIo, "x"});
  EXPECT_FALSE(CommitNow(restarted, PutUser(5)));
  EXPECT_TRUE(CommitNow(restarted, PutUser(5)));
  EXPECT_EQ(restarted.commits(), 1U);
}

}  // namespace
}  // namespace ringscale::storage
