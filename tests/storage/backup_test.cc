// Dumps, archives, backups and their restore.
#include "storage/backup.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <random>

#include "storage/backup/staging.h"
#include "storage/codec/keys.h"
#include "storage/codec/rows.h"
#include "storage/memory_store.h"
#include "tests/storage/storage_support.h"

namespace ringscale::storage {
namespace {

using core::ErrorCode;

Store::ChunkSink AppendTo(std::string& out) {
  return [&out](std::string_view chunk) -> core::Result<> {
    out.append(chunk);
    return {};
  };
}

// A dump with a few rows, and what it holds.
std::string SampleDump(Content& content) {
  MemoryStore store;
  EXPECT_TRUE(CommitNow(store, PutUser(1)));
  WriteBatch batch;
  batch.Put(Table::kNodes, IdKey(2), Encode(SampleNode(2)));
  batch.Put(Table::kPreAuthKeys, IdKey(3), Encode(SampleKey(3)));
  EXPECT_TRUE(CommitNow(store, std::move(batch)));
  content = store.records();
  auto dump = BackupNow(store);
  EXPECT_TRUE(dump);
  return dump ? *dump : "";
}

core::Result<Content> ReadDump(std::string_view dump, std::size_t piece,
                               std::uint32_t schema = kSchemaVersion) {
  Content content;
  DumpReader reader(schema, [&](Table table, std::string_view key, std::string_view value) {
    content[{table, std::string(key)}] = value;
    return core::Result<>{};
  });
  for (std::size_t at = 0; at < dump.size(); at += piece) {
    if (auto fed = reader.Feed(dump.substr(at, piece)); !fed) return core::Forward(fed);
  }
  if (auto whole = reader.Finish(); !whole) return core::Forward(whole);
  return content;
}

std::string MakeBackup(const std::string& dump,
                       const std::vector<std::pair<std::string, std::string>>& files) {
  std::string archive;
  BackupWriter writer(AppendTo(archive), core::WallTime{1'700'000'000'000'000'000});
  EXPECT_TRUE(writer.Begin("1.2.3"));
  for (const auto& [name, content] : files) EXPECT_TRUE(writer.AddFile(name, content));
  // In two chunks, as a store would send it.
  if (!dump.empty()) {
    EXPECT_TRUE(writer.AddDatabaseChunk(dump.substr(0, 40)));
    EXPECT_TRUE(writer.AddDatabaseChunk(dump.substr(40)));
  }
  EXPECT_TRUE(writer.Finish());
  return archive;
}

core::Result<RestoreReport> RestoreFrom(const std::string& dir, std::string_view archive,
                                        RestoreOptions options = {}, std::size_t piece = 1000) {
  auto lock = DataDir::Lock(dir);
  if (!lock) return core::Forward(lock);
  auto restore = Restore::Begin(*lock, options);
  if (!restore) return core::Forward(restore);
  for (std::size_t at = 0; at < archive.size(); at += piece) {
    if (auto fed = restore->Feed(archive.substr(at, piece)); !fed) return core::Forward(fed);
  }
  return restore->Finish();
}

LmdbOptions OptionsIn(const std::string& dir) {
  LmdbOptions options;
  options.path = dir + "/ringscale.db";
  return options;
}

std::vector<std::string> NamesIn(const std::string& dir) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

TEST(Dump, RoundTripsInPiecesOfAnySize) {
  Content content;
  const std::string dump = SampleDump(content);
  EXPECT_EQ(DumpBytes(dump), dump.size());
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{100}, dump.size()}) {
    const auto read = ReadDump(dump, piece);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, content);
  }
}

TEST(Dump, EveryFlippedBitAndEveryCutIsFound) {
  Content content;
  const std::string dump = SampleDump(content);
  for (std::size_t size = 0; size < dump.size(); ++size) {
    EXPECT_FALSE(ReadDump(dump.substr(0, size), 100)) << size;
  }
  for (std::size_t bit = 0; bit < dump.size() * 8; ++bit) {
    std::string damaged = dump;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    EXPECT_FALSE(ReadDump(damaged, damaged.size())) << bit;
  }
  EXPECT_FALSE(ReadDump(dump + "x", 100));
}

TEST(Dump, ANewerSchemaIsRefused) {
  MetaRow meta;
  meta.schema_version = 5;
  MemoryStore store(MemoryStore::Mode::kImmediate,
                    {{{Table::kMeta, std::string(kMetaKey)}, Encode(meta)}});
  const auto dump = BackupNow(store);
  ASSERT_TRUE(dump);
  const auto read = ReadDump(*dump, 100, 4);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(read.error().message.find("schema version 5"), std::string::npos);
  EXPECT_TRUE(ReadDump(*dump, 100, 5));
  EXPECT_TRUE(ReadDump(*dump, 100, 6));
}

TEST(Archive, NamesAreSafeBelowAnyDirectory) {
  for (const char* good : {"a", "data/noise.key", "a.b/c-d_e", "...", "a/b/c/d"}) {
    EXPECT_TRUE(IsSafeArchiveName(good)) << good;
  }
  for (const char* bad : {"", ".", "..", "/a", "a/", "a//b", "a/../b", "../a", "a/.", "a b", "a\\b",
                          "\xc3\xa4", "a\nb"}) {
    EXPECT_FALSE(IsSafeArchiveName(bad)) << bad;
  }
  EXPECT_FALSE(IsSafeArchiveName(std::string(101, 'a')));
  EXPECT_FALSE(IsSafeArchiveName(std::string("a\0b", 3)));
}

TEST(Archive, IsReadableWithTar) {
  tests::TempFolder dir;
  Content content;
  const std::string dump = SampleDump(content);
  WriteText(dir / "b.tar", MakeBackup(dump, {{"data/noise.key", "secret"}}));
  ASSERT_EQ(std::system(("tar -C " + dir.path() + " -xf " + dir / "b.tar").c_str()), 0);
  EXPECT_EQ(ReadText(dir / "data/noise.key"), "secret");
  EXPECT_EQ(ReadText(dir / "database.dump"), dump);
  EXPECT_EQ(ReadText(dir / "MANIFEST"), "ringscale-backup 1\nversion 1.2.3\n");
  struct stat status{};
  ASSERT_EQ(::stat((dir / "data/noise.key").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_EQ(status.st_mtime, 1'700'000'000);

  // And what tar packs again can be restored.
  ASSERT_EQ(std::system(
                ("cd " + dir.path() + " && tar -cf again.tar MANIFEST data database.dump CHECKSUMS")
                    .c_str()),
            0);
  const auto report = RestoreFrom(dir / "restored", ReadText(dir / "again.tar"));
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->data_files, std::vector<std::string>{"noise.key"});
}

TEST(Backup, RestoreEqualsTheOriginal) {
  tests::TempFolder dir;
  Content content;
  std::string dump;
  {
    auto store = OpenStore(OptionsIn(dir.path()));
    for (std::uint64_t id = 1; id <= 2000; ++id) store->Commit(PutUser(id), [](core::Result<>) {});
    const auto taken = BackupNow(*store);
    ASSERT_TRUE(taken);
    dump = *taken;
    content = ReadAll(*store);
  }
  const std::string target = dir / "elsewhere";
  const auto report = RestoreFrom(target, MakeBackup(dump, {{"data/noise.key", "k1"},
                                                            {"data/tls/ca.key", "k2"},
                                                            {"config/ringscale.toml", "x=1"}}));
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->records, content.size());
  EXPECT_EQ(report->program_version, "1.2.3");
  EXPECT_EQ(report->config_files, std::vector<std::string>{"restored-config/ringscale.toml"});
  EXPECT_EQ(NamesIn(target), (std::vector<std::string>{"noise.key", "restored-config",
                                                       "ringscale.db", "ringscale.lock", "tls"}));
  EXPECT_EQ(ReadText(target + "/noise.key"), "k1");
  EXPECT_EQ(ReadText(target + "/tls/ca.key"), "k2");
  struct stat status{};
  ASSERT_EQ(::stat((target + "/tls/ca.key").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  auto store = OpenStore(OptionsIn(target));
  EXPECT_EQ(ReadAll(*store), content);
  EXPECT_TRUE(CommitNow(*store, PutUser(9999)));
}

TEST(Backup, IsOneMomentWhileCommitsGoOn) {
  tests::TempFolder dir;
  auto store = OpenStore(TestOptions(dir));
  // Each batch moves the pair (1, 2) on together: a backup must not see them apart.
  const auto pair = [](std::uint64_t value) {
    UserRow first = SampleUser(1);
    UserRow second = SampleUser(2000);
    first.name = second.name = std::to_string(value);
    WriteBatch batch;
    batch.Put(Table::kUsers, IdKey(1), Encode(first));
    batch.Put(Table::kUsers, IdKey(2000), Encode(second));
    return batch;
  };
  for (std::uint64_t id = 2; id < 2000; ++id) {
    UserRow row = SampleUser(id);
    row.display_name.assign(2000, 'f');
    WriteBatch batch;
    batch.Put(Table::kUsers, IdKey(id), Encode(row));
    store->Commit(std::move(batch), [](core::Result<> result) { EXPECT_TRUE(result); });
  }
  ASSERT_TRUE(CommitNow(*store, pair(0)));

  // Each chunk queues another change; the writer commits it before the next slice.
  std::string dump;
  std::promise<core::Result<>> done;
  std::uint64_t value = 0;
  int committed_meanwhile = 0;
  bool running = true;
  store->Backup(
      [&](std::string_view chunk) -> core::Result<> {
        dump.append(chunk);
        store->Commit(pair(++value), [&](core::Result<> result) {
          EXPECT_TRUE(result);
          committed_meanwhile += running;
        });
        return {};
      },
      [&](core::Result<> result) {
        running = false;
        done.set_value(std::move(result));
      });
  const auto result = done.get_future().get();
  ASSERT_TRUE(result) << result.error().message;
  store->Close();
  EXPECT_GT(committed_meanwhile, 10);
  const auto content = ReadDump(dump, 5000);
  ASSERT_TRUE(content) << content.error().message;
  EXPECT_EQ(content->size(), 2001U);
  EXPECT_EQ(DecodeUser(content->at({Table::kUsers, IdKey(1)}))->name, "0");
  EXPECT_EQ(DecodeUser(content->at({Table::kUsers, IdKey(2000)}))->name, "0");
}

TEST(Backup, HoldsTheQueueBeforeItAndEndsWhenTheDatabaseGrows) {
  tests::TempFolder dir;
  auto store = OpenStore(TestOptions(dir));
  for (std::uint64_t id = 1; id <= 100; ++id) store->Commit(PutUser(id), [](core::Result<>) {});
  std::string dump;
  bool complete = false;
  store->Backup(AppendTo(dump), [&](core::Result<> result) { complete = result.has_value(); });
  UserRow large = SampleUser(500);
  large.display_name.assign(8 << 20, 'x');
  WriteBatch batch;
  batch.Put(Table::kUsers, IdKey(500), Encode(large));
  ASSERT_TRUE(CommitNow(*store, std::move(batch)));
  store->Close();
  EXPECT_TRUE(complete);
  const auto content = ReadDump(dump, 5000);
  ASSERT_TRUE(content);
  EXPECT_EQ(content->size(), 101U);
}

TEST(Backup, EndsWithItsSinksError) {
  tests::TempFolder dir;
  auto store = OpenStore(TestOptions(dir));
  std::promise<core::Result<>> done;
  store->Backup([](std::string_view) { return core::Fail(ErrorCode::kClosed, "peer is gone"); },
                [&](core::Result<> result) { done.set_value(std::move(result)); });
  const auto result = done.get_future().get();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "peer is gone");
  EXPECT_TRUE(store->Health());
  EXPECT_TRUE(BackupNow(*store));
}

class RestoreTest : public testing::Test {
 protected:
  Content content_;
  std::string dump_ = SampleDump(content_);
  tests::TempFolder dir_;
  std::string target_ = dir_ / "target";
};

TEST_F(RestoreTest, EveryCutIsRefusedAndChangesNothing) {
  const std::string archive = MakeBackup(dump_, {{"data/noise.key", "k"}});
  for (std::size_t size = 0; size < archive.size(); size += 97) {
    EXPECT_FALSE(RestoreFrom(target_, std::string_view(archive).substr(0, size))) << size;
    ASSERT_EQ(NamesIn(target_), std::vector<std::string>{"ringscale.lock"}) << size;
  }
  EXPECT_FALSE(RestoreFrom(target_, std::string_view(archive).substr(0, archive.size() - 1)));
}

TEST_F(RestoreTest, DamageIsRefusedAndChangesNothing) {
  const std::string archive = MakeBackup(dump_, {{"data/noise.key", std::string(600, 'k')}});
  std::mt19937 random(3);
  int refused = 0;
  for (int round = 0; round < 150; ++round) {
    std::string damaged = archive;
    const std::size_t at = random() % damaged.size();
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
    if (RestoreFrom(target_, damaged)) {
      // Only the padding after a file's end may be anything.
      EXPECT_EQ(archive[at], '\0') << at;
      std::filesystem::remove_all(target_);
      continue;
    }
    ++refused;
    ASSERT_EQ(NamesIn(target_), std::vector<std::string>{"ringscale.lock"}) << at;
  }
  EXPECT_GT(refused, 75);
}

TEST_F(RestoreTest, AnExistingDatabaseIsKeptUnlessReplaced) {
  {
    auto lock = DataDir::Lock(target_);
    auto store = OpenStore(OptionsIn(target_));
    ASSERT_TRUE(CommitNow(*store, PutUser(77)));
  }
  WriteText(target_ + "/noise.key", "old");
  const std::string archive = MakeBackup(dump_, {{"data/noise.key", "new"}});
  const auto refused = RestoreFrom(target_, archive);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kExists);
  EXPECT_EQ(ReadText(target_ + "/noise.key"), "old");

  ASSERT_TRUE(RestoreFrom(target_, archive, {.replace_existing = true}));
  EXPECT_EQ(ReadText(target_ + "/noise.key"), "new");
  EXPECT_EQ(ReadText(target_ + "/before-restore/noise.key"), "old");
  EXPECT_EQ(ReadAll(*OpenStore(OptionsIn(target_))), content_);
  EXPECT_TRUE(HasUser(*OpenStore(OptionsIn(target_ + "/before-restore")), 77));
}

TEST_F(RestoreTest, ARunningServerIsRefused) {
  const auto lock = DataDir::Lock(target_);
  ASSERT_TRUE(lock);
  const std::string archive = MakeBackup(dump_, {});
  EXPECT_EQ(InChild([&] {
              const auto report = RestoreFrom(target_, archive);
              return !report && report.error().code == ErrorCode::kConflict ? 0 : 1;
            }),
            0);
}

TEST_F(RestoreTest, ForeignNamesAreRefused) {
  // Written by hand: BackupWriter refuses them too.
  const auto archive_with = [&](std::string_view name, char type) {
    std::string archive;
    TarWriter tar(AppendTo(archive), {});
    EXPECT_TRUE(tar.Begin("MANIFEST", 34));
    EXPECT_TRUE(tar.Write("ringscale-backup 1\nversion 1.2.3\n\n"));
    std::string entry;
    TarWriter other(AppendTo(entry), {});
    EXPECT_TRUE(other.Begin("data/placeholder", 0));
    // Name and type replaced, checksum made anew.
    entry.replace(0, 100, std::string(name) + std::string(100 - name.size(), '\0'));
    entry[156] = type;
    entry.replace(148, 8, "        ");
    unsigned sum = 0;
    for (const char c : entry) sum += static_cast<std::uint8_t>(c);
    char text[8];
    std::snprintf(text, sizeof(text), "%06o", sum);
    entry.replace(148, 7, std::string(text, 7));
    return archive + entry + std::string(1024, '\0');
  };
  const struct {
    const char* name;
    char type;
    const char* message;
  } cases[] = {
      {"../evil", '0', "a name that no backup has"},
      {"data/../../evil", '0', "a name that no backup has"},
      {"/etc/passwd", '0', "a name that no backup has"},
      {"data/link", '2', "no regular file"},
      {"data/hard", '1', "no regular file"},
      {"data/x", 'x', "no regular file"},
      {"other/file", '0', "a file that no backup has"},
      {"data/ringscale.db", '0', "would overwrite"},
      {"data/ringscale.db-lock", '0', "would overwrite"},
      {"data/ringscale.lock", '0', "would overwrite"},
      {"data/restore.ready/x", '0', "would overwrite"},
  };
  for (const auto& c : cases) {
    const auto report = RestoreFrom(target_, archive_with(c.name, c.type));
    ASSERT_FALSE(report) << c.name;
    EXPECT_NE(report.error().message.find(c.message), std::string::npos)
        << c.name << ": " << report.error().message;
    EXPECT_EQ(NamesIn(target_), std::vector<std::string>{"ringscale.lock"});
  }
  std::string ignored;
  BackupWriter writer(AppendTo(ignored), {});
  ASSERT_TRUE(writer.Begin("1"));
  EXPECT_FALSE(writer.AddFile("data/../x", "x"));
  EXPECT_FALSE(writer.AddFile("other/x", "x"));
}

TEST_F(RestoreTest, WithoutADatabaseItIsNoBackup) {
  const auto report = RestoreFrom(target_, MakeBackup("", {{"data/noise.key", "k"}}));
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::kCorrupt);
}

TEST_F(RestoreTest, ANewerSchemaIsRefused) {
  MetaRow meta;
  meta.schema_version = kSchemaVersion + 1;
  MemoryStore store(MemoryStore::Mode::kImmediate,
                    {{{Table::kMeta, std::string(kMetaKey)}, Encode(meta)}});
  const auto report = RestoreFrom(target_, MakeBackup(*BackupNow(store), {}));
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::kUnsupported);
}

TEST_F(RestoreTest, AnInterruptedOneIsCompletedAtTheNextStart) {
  // As a crash right after the point of no return, and one in the middle, leave it.
  ASSERT_TRUE(DataDir::Lock(target_));
  WriteText(target_ + "/noise.key", "old");
  const std::string ready = target_ + "/" + std::string(kStagingReady);
  std::filesystem::create_directories(ready + "/tls");
  WriteText(ready + "/noise.key", "new");
  WriteText(ready + "/tls/ca.key", "ca");
  std::filesystem::create_directories(target_ + "/before-restore");
  ASSERT_TRUE(DataDir::Lock(target_));
  EXPECT_EQ(ReadText(target_ + "/noise.key"), "new");
  EXPECT_EQ(ReadText(target_ + "/before-restore/noise.key"), "old");
  EXPECT_EQ(ReadText(target_ + "/tls/ca.key"), "ca");
  EXPECT_FALSE(std::filesystem::exists(ready));
}

}  // namespace
}  // namespace ringscale::storage
