// What the store's tests share: directories that go away, rows, a store with
// calls that wait.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "storage/commit/lmdb_store.h"
#include "storage/store.h"
#include "storage/tables/rows.h"
#include "tests/support/temp_folder.h"

namespace ringscale::storage {

using Content = std::map<std::pair<Table, std::string>, std::string>;

// Rows with every field set.
UserRow SampleUser(std::uint64_t id);
NodeRow SampleNode(std::uint64_t id);
PreAuthKeyRow SampleKey(std::uint64_t id);
WriteBatch PutUser(std::uint64_t id);

// Options for tests: small map, so that growth is exercised.
LmdbOptions TestOptions(const tests::TempFolder& dir);
std::unique_ptr<LmdbStore> OpenStore(const LmdbOptions& options);

// The calls of a store, waiting for their end.
core::Result<> CommitNow(Store& store, WriteBatch batch);
core::Result<std::string> BackupNow(Store& store);
Content ReadAll(Store& store);
bool HasUser(Store& store, std::uint64_t id);

std::string ReadText(const std::string& path);
void WriteText(const std::string& path, std::string_view text);

// Runs `body` in a forked child; its result is the child's exit code, 100 + the
// signal's number when it died of one.
int InChild(const std::function<int()>& body);

// Makes `count` calls of that kind fail with `error` in this process, after `skip`
// more that succeed.
enum class DiskCall { kSync, kWrite };
void FailDisk(DiskCall call, int count, int error, int skip = 0);

}  // namespace ringscale::storage
