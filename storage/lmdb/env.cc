#include "storage/lmdb/env.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "core/base/fd.h"

namespace ringscale::storage::lmdb {
namespace {

constexpr unsigned kMaxTables = 16;
constexpr Dbi kFreeList = 0;  // LMDB's own tables: free pages, and the list of tables
constexpr Dbi kTableList = 1;

core::ErrorCode CodeOf(int rc) {
  switch (rc) {
    case MDB_MAP_FULL:
      return core::ErrorCode::kLimit;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
      return core::ErrorCode::kCorrupt;
    case MDB_BAD_VALSIZE:
      return core::ErrorCode::kInvalid;
    case MDB_PANIC:
      return core::ErrorCode::kIo;
    default:
      return rc > 0 ? core::ErrorCode::kIo : core::ErrorCode::kInternal;
  }
}

std::unexpected<Failure> Failed(const char* what, int rc) {
  std::string message = std::string(what) + ": " + mdb_strerror(rc);
  if (rc == EDQUOT || rc == EFBIG) message += " (the quota or file size limit is reached)";
  if (rc == EROFS || rc == EACCES) message += " (the data directory must be writable)";
  return std::unexpected(Failure{{CodeOf(rc), std::move(message)},
                                 rc == MDB_MAP_FULL,
                                 rc == MDB_PANIC || rc == MDB_CORRUPTED});
}

MDB_val ToVal(std::string_view text) {
  // LMDB only reads what it is given here.
  return {text.size(), const_cast<char*>(text.data())};
}

std::string_view FromVal(const MDB_val& val) {
  return {static_cast<const char*>(val.mv_data), val.mv_size};
}

Outcome<std::optional<std::string_view>> GetFrom(MDB_txn* txn, Dbi table, std::string_view key) {
  MDB_val key_val = ToVal(key);
  MDB_val value{};
  const int rc = mdb_get(txn, table, &key_val, &value);
  if (rc == MDB_NOTFOUND) return std::nullopt;
  if (rc != 0) return Failed("reading the database", rc);
  return FromVal(value);
}

std::uint64_t Pages(const MDB_stat& stat) {
  return stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
}

}  // namespace

ReadTxn::~ReadTxn() {
  if (txn_ != nullptr) mdb_txn_abort(txn_);
}

Outcome<std::optional<Dbi>> ReadTxn::OpenTable(const char* name) {
  MDB_dbi dbi = 0;
  const int rc = mdb_dbi_open(txn_, name, 0, &dbi);
  if (rc == MDB_NOTFOUND) return std::nullopt;
  if (rc != 0) return Failed("opening a table of the database", rc);
  return dbi;
}

Outcome<std::optional<std::string_view>> ReadTxn::Get(Dbi table, std::string_view key) {
  return GetFrom(txn_, table, key);
}

Outcome<TreeStat> ReadTxn::Stat(Dbi table) {
  MDB_stat stat{};
  if (const int rc = mdb_stat(txn_, table, &stat); rc != 0) {
    return Failed("reading the database", rc);
  }
  return TreeStat{stat.ms_entries, Pages(stat)};
}

WriteTxn::~WriteTxn() {
  if (txn_ != nullptr) mdb_txn_abort(txn_);
}

Outcome<Dbi> WriteTxn::CreateTable(const char* name) {
  MDB_dbi dbi = 0;
  if (const int rc = mdb_dbi_open(txn_, name, MDB_CREATE, &dbi); rc != 0) {
    return Failed("creating a table of the database", rc);
  }
  return dbi;
}

Outcome<std::optional<std::string_view>> WriteTxn::Get(Dbi table, std::string_view key) {
  return GetFrom(txn_, table, key);
}

Outcome<> WriteTxn::Put(Dbi table, std::string_view key, std::string_view value) {
  MDB_val key_val = ToVal(key);
  MDB_val value_val = ToVal(value);
  if (const int rc = mdb_put(txn_, table, &key_val, &value_val, 0); rc != 0) {
    return Failed("writing to the database", rc);
  }
  return {};
}

Outcome<> WriteTxn::Delete(Dbi table, std::string_view key) {
  MDB_val key_val = ToVal(key);
  const int rc = mdb_del(txn_, table, &key_val, nullptr);
  if (rc != 0 && rc != MDB_NOTFOUND) return Failed("writing to the database", rc);
  return {};
}

Outcome<> WriteTxn::Commit() {
  const int rc = mdb_txn_commit(std::exchange(txn_, nullptr));
  if (rc != 0) return Failed("committing to the database", rc);
  return {};
}

Outcome<Cursor> Cursor::Open(const ReadTxn& txn, Dbi table) {
  return Open(txn.txn_, table);
}
Outcome<Cursor> Cursor::Open(const WriteTxn& txn, Dbi table) {
  return Open(txn.txn_, table);
}

Outcome<Cursor> Cursor::Open(MDB_txn* txn, Dbi table) {
  MDB_cursor* cursor = nullptr;
  if (const int rc = mdb_cursor_open(txn, table, &cursor); rc != 0) {
    return Failed("reading the database", rc);
  }
  return Cursor(cursor);
}

Cursor::~Cursor() {
  if (cursor_ != nullptr) mdb_cursor_close(cursor_);
}

Outcome<std::optional<Cursor::Entry>> Cursor::Next() {
  MDB_val key{};
  MDB_val value{};
  const int rc = mdb_cursor_get(cursor_, &key, &value, started_ ? MDB_NEXT : MDB_FIRST);
  started_ = true;
  if (rc == MDB_NOTFOUND) return std::nullopt;
  if (rc != 0) return Failed("reading the database", rc);
  return Entry{FromVal(key), FromVal(value)};
}

Outcome<Env> Env::Open(const Options& options) {
  MDB_env* raw = nullptr;
  if (const int rc = mdb_env_create(&raw); rc != 0) return Failed("opening the database", rc);
  Env env(raw);
  unsigned flags = MDB_NOSUBDIR | MDB_NOTLS;
  if (options.read_only) flags |= MDB_RDONLY | MDB_NOLOCK;
  int rc = mdb_env_set_maxdbs(raw, kMaxTables);
  if (rc == 0) rc = mdb_env_set_mapsize(raw, options.map_bytes);
  if (rc == 0) rc = mdb_env_open(raw, options.path.c_str(), flags, 0600);
  if (rc != 0) return Failed(("opening the database " + options.path).c_str(), rc);
  return env;
}

Env& Env::operator=(Env&& other) noexcept {
  if (this != &other) {
    if (env_ != nullptr) mdb_env_close(env_);
    env_ = std::exchange(other.env_, nullptr);
  }
  return *this;
}

Env::~Env() {
  if (env_ != nullptr) mdb_env_close(env_);
}

Outcome<ReadTxn> Env::BeginRead() {
  MDB_txn* txn = nullptr;
  if (const int rc = mdb_txn_begin(env_, nullptr, MDB_RDONLY, &txn); rc != 0) {
    return Failed("reading the database", rc);
  }
  return ReadTxn(txn);
}

Outcome<WriteTxn> Env::BeginWrite() {
  MDB_txn* txn = nullptr;
  if (const int rc = mdb_txn_begin(env_, nullptr, 0, &txn); rc != 0) {
    return Failed("writing to the database", rc);
  }
  return WriteTxn(txn);
}

Outcome<> Env::Resize(std::size_t map_bytes) {
  if (const int rc = mdb_env_set_mapsize(env_, map_bytes); rc != 0) {
    return Failed("growing the database", rc);
  }
  return {};
}

std::size_t Env::map_bytes() const {
  MDB_envinfo info{};
  return mdb_env_info(env_, &info) == 0 ? info.me_mapsize : 0;
}

Outcome<> Env::CopyTo(const std::string& path) {
  core::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) return Failed(("creating " + path).c_str(), errno);
  int rc = mdb_env_copyfd(env_, file.get());
  if (rc == 0 && ::fsync(file.get()) != 0) rc = errno;
  if (rc != 0) {
    ::unlink(path.c_str());
    return Failed(("copying the database to " + path).c_str(), rc);
  }
  return {};
}

Outcome<> Env::CheckPages(ReadTxn& txn, std::uint64_t used_by_tables) {
  const auto damaged = [](const char* what) {
    return std::unexpected(Failure{{core::ErrorCode::kCorrupt, what}, false, true});
  };
  MDB_envinfo info{};
  MDB_stat free_list{};
  MDB_stat table_list{};
  if (mdb_env_info(env_, &info) != 0 || mdb_stat(txn.txn_, kFreeList, &free_list) != 0 ||
      mdb_stat(txn.txn_, kTableList, &table_list) != 0) {
    return damaged("its page counts cannot be read");
  }
  // Pages at the end that were freed again in the transaction that added them are
  // never written: the file may be shorter, by no more than a transaction.
  constexpr std::uint64_t kSlack = 1 << 20;
  mdb_filehandle_t file = -1;
  struct stat status{};
  if (mdb_env_get_fd(env_, &file) != 0 || ::fstat(file, &status) != 0) {
    return damaged("its size cannot be read");
  }
  const std::uint64_t pages = info.me_last_pgno + 1;
  if (pages > static_cast<std::uint64_t>(status.st_size) / free_list.ms_psize + kSlack) {
    return damaged("it is cut off");
  }
  std::vector<bool> is_free(pages);
  std::uint64_t used = 2 + Pages(free_list) + Pages(table_list) + used_by_tables;
  auto cursor = Cursor::Open(txn, kFreeList);
  if (!cursor) return std::unexpected(std::move(cursor.error()));
  // Each entry is a list of page numbers: how many, then the numbers.
  for (;;) {
    auto entry = cursor->Next();
    if (!entry) return std::unexpected(std::move(entry.error()));
    if (!*entry) break;
    const std::string_view list = (*entry)->value;
    std::size_t count = 0;
    if (list.size() < sizeof(count)) return damaged("its list of free pages is malformed");
    std::memcpy(&count, list.data(), sizeof(count));
    if (count > list.size() / sizeof(std::size_t) - 1) {
      return damaged("its list of free pages is malformed");
    }
    for (std::size_t i = 1; i <= count; ++i) {
      std::size_t page = 0;
      std::memcpy(&page, list.data() + i * sizeof(page), sizeof(page));
      if (page < 2 || page >= pages || is_free[page]) {
        return damaged("its list of free pages names a page that cannot be free");
      }
      is_free[page] = true;
      ++used;
    }
  }
  if (used > pages) return damaged("pages of it are in use twice");
  return {};
}

}  // namespace ringscale::storage::lmdb
