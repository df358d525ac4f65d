// What was acknowledged is on disk, however the process ends; what is damaged is
// found before it is used.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <random>
#include <set>

#include "storage/codec/keys.h"
#include "storage/codec/rows.h"
#include "storage/commit/check.h"
#include "tests/storage/storage_support.h"

namespace ringscale::storage {
namespace {

using core::ErrorCode;

// Batch `id` holds a user and a node of that number.
WriteBatch Pair(std::uint64_t id) {
  WriteBatch batch = PutUser(id);
  batch.Put(Table::kNodes, IdKey(id), Encode(SampleNode(id)));
  return batch;
}

// Commits pairs from `first` on, for ever, and writes the number of each
// acknowledged one to `acks`.
[[noreturn]] void CommitForEver(const LmdbOptions& options, std::uint64_t first, int acks) {
  auto store = LmdbStore::Open(options);
  if (!store) ::_exit(1);
  constexpr int kInFlight = 16;
  std::atomic<int> in_flight{0};
  for (std::uint64_t id = first;; ++id) {
    for (int now = in_flight.load(); now >= kInFlight; now = in_flight.load()) in_flight.wait(now);
    ++in_flight;
    (*store)->Commit(Pair(id), [&, id](core::Result<> result) {
      if (!result || ::write(acks, &id, sizeof(id)) != sizeof(id)) ::_exit(2);
      --in_flight;
      in_flight.notify_one();
    });
  }
}

TEST(Durability, EveryAcknowledgedBatchSurvivesKill) {
  tests::TempFolder dir;
  const LmdbOptions options = TestOptions(dir);
  std::mt19937 random(1);
  std::set<std::uint64_t> acknowledged;
  std::uint64_t next = 1;
  for (int round = 0; round < 25; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      CommitForEver(options, next, ends[1]);
    }
    ::close(ends[1]);
    const unsigned kill_after = std::uniform_int_distribution<unsigned>(0, 120)(random);
    unsigned seen = 0;
    if (seen == kill_after) ::kill(child, SIGKILL);
    // Reads on after the kill: what is in the pipe was acknowledged too.
    for (std::uint64_t id = 0; ::read(ends[0], &id, sizeof(id)) == sizeof(id);) {
      acknowledged.insert(id);
      next = std::max(next, id + 1);
      if (++seen == kill_after) ::kill(child, SIGKILL);
    }
    ::close(ends[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "exit code " << WEXITSTATUS(status);

    auto store = LmdbStore::Open(options);
    ASSERT_TRUE(store) << store.error().message;
    const Content content = ReadAll(**store);
    for (const std::uint64_t id : acknowledged) {
      ASSERT_TRUE(content.contains({Table::kUsers, IdKey(id)})) << id;
    }
    for (const auto& [where, value] : content) {
      ASSERT_TRUE(VerifyRecord(where.first, where.second, value));
      // Both halves of a batch or neither.
      if (where.first == Table::kUsers) {
        ASSERT_TRUE(content.contains({Table::kNodes, where.second}));
        next = std::max(next, *ParseIdKey(where.second) + 1);
      }
      if (where.first == Table::kNodes) {
        ASSERT_TRUE(content.contains({Table::kUsers, where.second}));
      }
    }
  }
  EXPECT_GT(acknowledged.size(), 500U);
}

class Damage : public testing::Test {
 protected:
  void SetUp() override {
    auto store = OpenStore(options_);
    // Each by itself: how commits come to be grouped decides which pages are free.
    for (std::uint64_t id = 1; id <= 300; ++id) ASSERT_TRUE(CommitNow(*store, Pair(id)));
    WriteBatch remove;  // leaves free pages and overflow pages behind
    for (std::uint64_t id = 100; id < 200; ++id) remove.Delete(Table::kNodes, IdKey(id));
    UserRow large = SampleUser(5);
    large.display_name.assign(30'000, 'x');
    remove.Put(Table::kUsers, IdKey(5), Encode(large));
    ASSERT_TRUE(CommitNow(*store, std::move(remove)));
    ASSERT_TRUE(CommitNow(*store, Pair(301)));
    content_ = ReadAll(*store);
    store.reset();
    image_ = ReadText(options_.path);
  }

  // Opens the database with `image` as its file. The content, or the error.
  core::Result<Content> OpenImage(std::string_view image) {
    WriteText(options_.path, image);
    auto store = LmdbStore::Open(options_);
    if (!store) return core::Forward(store);
    return ReadAll(**store);
  }

  tests::TempFolder dir_;
  LmdbOptions options_ = TestOptions(dir_);
  std::string image_;
  Content content_;
};

TEST_F(Damage, SoundFileIsSound) {
  const auto info = CheckDatabase(options_.path, kSchemaVersion);
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->records, content_.size());
  EXPECT_EQ(info->schema_version, kSchemaVersion);
  EXPECT_EQ(OpenImage(image_), content_);
}

TEST_F(Damage, TruncatedFileIsRefused) {
  for (const std::size_t pages : {0U, 1U, 2U, 3U, 5U, 8U}) {
    const auto opened = OpenImage(std::string_view(image_).substr(0, pages * 4096));
    ASSERT_FALSE(opened) << pages;
    EXPECT_NE(opened.error().message.find("database damaged"), std::string::npos)
        << opened.error().message;
  }
  const auto half = OpenImage(std::string_view(image_).substr(0, image_.size() / 2 + 100));
  ASSERT_FALSE(half);
  EXPECT_EQ(half.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(half.error().message.find("restore it from a backup"), std::string::npos)
      << half.error().message;
}

TEST_F(Damage, ForeignFileIsRefused) {
  EXPECT_FALSE(OpenImage("hello"));
  EXPECT_FALSE(OpenImage(std::string(100'000, 'x')));
  EXPECT_FALSE(OpenImage(std::string(100'000, '\0')));
}

// Random bytes over a random page: refused, or they hit what nobody reads (free
// pages, the gap within a page, the older meta page) and all rows are right.
TEST_F(Damage, RandomPageIsNeverAWrongRow) {
  std::mt19937 random(7);
  const std::size_t pages = image_.size() / 4096;
  int refused = 0;
  for (int round = 0; round < 200; ++round) {
    std::string damaged = image_;
    const std::size_t page = random() % pages;
    const std::size_t length = round % 2 == 0 ? 4096 : 1 + random() % 64;
    const std::size_t start = page * 4096 + random() % (4096 - length + 1);
    for (std::size_t i = 0; i < length; ++i) damaged[start + i] = static_cast<char>(random());
    const auto opened = OpenImage(damaged);
    if (!opened) {
      ++refused;
    } else if (page >= 2) {
      EXPECT_EQ(*opened, content_) << "page " << page << " from " << start % 4096;
    }
  }
  EXPECT_GT(refused, 100);
}

TEST_F(Damage, EveryRecordsBytesAreProtected) {
  const std::string record = content_.at({Table::kNodes, IdKey(42)});
  std::string damaged = image_;
  std::size_t hits = 0;
  for (std::size_t at = damaged.find(record); at != std::string::npos;
       at = damaged.find(record, at + 1)) {
    damaged[at + 20] = static_cast<char>(damaged[at + 20] ^ 1);
    ++hits;
  }
  ASSERT_GT(hits, 0U);
  const auto opened = OpenImage(damaged);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("table nodes is damaged: its checksum does not match"),
            std::string::npos)
      << opened.error().message;
}

}  // namespace
}  // namespace ringscale::storage
