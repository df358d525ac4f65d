// LMDB behind typed, checked handles. The only code that includes lmdb.h.
//
// Rules that bind us (lmdb.h, "Caveats"): one write transaction at a time; the
// same file is never opened twice in one process; the map is resized only while
// no transaction is open; what Get and Cursor return lives in the map and is
// valid until the transaction ends (a write transaction's next change).
// Never opened with WRITEMAP, NOSYNC or NOMETASYNC: a commit that returned is on
// disk. Transactions are bound to their object, not to the thread (MDB_NOTLS).
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/result.h"

struct MDB_env;
struct MDB_txn;
struct MDB_cursor;

namespace ringscale::storage::lmdb {

using Dbi = unsigned int;

// A failed call. `full` asks for a larger map, `fatal` means that the
// environment must be closed and opened again before it can be used.
struct Failure {
  core::Error error;
  bool map_full = false;
  bool fatal = false;
};
template <class T = void>
using Outcome = std::expected<T, Failure>;

struct TreeStat {
  std::uint64_t entries = 0;
  std::uint64_t pages = 0;
};

// A read transaction: one snapshot for as long as it lives. Keep it short, it
// stops the reuse of pages.
class ReadTxn {
 public:
  ReadTxn(ReadTxn&& other) noexcept : txn_(std::exchange(other.txn_, nullptr)) {}
  ReadTxn& operator=(ReadTxn&&) = delete;
  ~ReadTxn();

  // nullopt when the table does not exist.
  [[nodiscard]] Outcome<std::optional<Dbi>> OpenTable(const char* name);
  [[nodiscard]] Outcome<std::optional<std::string_view>> Get(Dbi table, std::string_view key);
  [[nodiscard]] Outcome<TreeStat> Stat(Dbi table);

 private:
  friend class Env;
  friend class Cursor;
  explicit ReadTxn(MDB_txn* txn) : txn_(txn) {}
  MDB_txn* txn_;
};

// The write transaction. Dropped without Commit, it changes nothing.
class WriteTxn {
 public:
  WriteTxn(WriteTxn&& other) noexcept : txn_(std::exchange(other.txn_, nullptr)) {}
  WriteTxn& operator=(WriteTxn&&) = delete;
  ~WriteTxn();

  [[nodiscard]] Outcome<Dbi> CreateTable(const char* name);
  [[nodiscard]] Outcome<std::optional<std::string_view>> Get(Dbi table, std::string_view key);
  [[nodiscard]] Outcome<> Put(Dbi table, std::string_view key, std::string_view value);
  // Deleting what is not there is no failure.
  [[nodiscard]] Outcome<> Delete(Dbi table, std::string_view key);
  // Returns when everything is on disk. The transaction is over either way.
  [[nodiscard]] Outcome<> Commit();

 private:
  friend class Env;
  friend class Cursor;
  explicit WriteTxn(MDB_txn* txn) : txn_(txn) {}
  MDB_txn* txn_;
};

// Walks one table in key order.
class Cursor {
 public:
  struct Entry {
    std::string_view key;
    std::string_view value;
  };
  [[nodiscard]] static Outcome<Cursor> Open(const ReadTxn& txn, Dbi table);
  [[nodiscard]] static Outcome<Cursor> Open(const WriteTxn& txn, Dbi table);
  Cursor(Cursor&& other) noexcept
      : cursor_(std::exchange(other.cursor_, nullptr)), started_(other.started_) {}
  Cursor& operator=(Cursor&&) = delete;
  ~Cursor();

  // The first, then the following entries; nullopt after the last.
  [[nodiscard]] Outcome<std::optional<Entry>> Next();

 private:
  static Outcome<Cursor> Open(MDB_txn* txn, Dbi table);
  explicit Cursor(MDB_cursor* cursor) : cursor_(cursor) {}
  MDB_cursor* cursor_;
  bool started_ = false;
};

class Env {
 public:
  struct Options {
    std::string path;           // of the database file; "<path>-lock" lies beside it
    std::size_t map_bytes = 0;  // how far the file may grow before Grow
    bool read_only = false;     // no lock file either: nobody else may write
  };
  [[nodiscard]] static Outcome<Env> Open(const Options& options);
  Env(Env&& other) noexcept : env_(std::exchange(other.env_, nullptr)) {}
  Env& operator=(Env&& other) noexcept;
  ~Env();

  [[nodiscard]] Outcome<ReadTxn> BeginRead();
  [[nodiscard]] Outcome<WriteTxn> BeginWrite();
  // Only while no transaction is open.
  [[nodiscard]] Outcome<> Resize(std::size_t map_bytes);
  [[nodiscard]] std::size_t map_bytes() const;
  // A complete copy in a new file that only the owner can read, synced. Fails
  // when the file exists.
  [[nodiscard]] Outcome<> CopyTo(const std::string& path);

  // Checks the bookkeeping of pages: the list of free pages names each page once
  // and inside the file, and used and free ones together are not more than there
  // are. `used` is the sum of TreeStat::pages over all named tables.
  [[nodiscard]] Outcome<> CheckPages(ReadTxn& txn, std::uint64_t used_by_tables);

 private:
  explicit Env(MDB_env* env) : env_(env) {}
  MDB_env* env_ = nullptr;
};

}  // namespace ringscale::storage::lmdb
