#include "storage/commit/check.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "core/base/fd.h"
#include "storage/codec/record.h"
#include "storage/codec/rows.h"
#include "storage/lmdb/env.h"
#include "storage/tables/rows.h"

namespace ringscale::storage {
namespace {

constexpr unsigned kMaxSeconds = 600;  // a damaged tree must not make us wait for ever

std::unexpected<core::Error> Damaged(const std::string& path, std::string_view what) {
  return core::Fail(core::ErrorCode::kCorrupt,
                    "database damaged: " + path + ": " + std::string(what) +
                        "; restore it from a backup (ringscale restore FILE --force)");
}

template <class T>
std::unexpected<core::Error> Damaged(const std::string& path, lmdb::Outcome<T>& outcome) {
  // Only the file's own state is damage; "out of memory" or "permission denied" is not.
  if (outcome.error().error.code == core::ErrorCode::kIo) {
    return std::unexpected(std::move(outcome.error().error));
  }
  return Damaged(path, outcome.error().error.message);
}

core::Result<std::uint64_t> WalkTable(const std::string& path, lmdb::ReadTxn& txn, lmdb::Dbi dbi,
                                      Table table, bool full, std::uint64_t expected) {
  const std::string name(TableName(table));
  auto cursor = lmdb::Cursor::Open(txn, dbi);
  if (!cursor) return Damaged(path, cursor);
  std::uint64_t count = 0;
  std::string last;
  for (;;) {
    auto entry = cursor->Next();
    if (!entry) return Damaged(path, entry);
    if (!*entry) break;
    const auto [key, value] = **entry;
    if (count > 0 && key <= last) return Damaged(path, "table " + name + " is out of order");
    if (++count > expected) break;
    last = key;
    auto sound = full ? VerifyRecord(table, key, value) : VerifyFrame(table, value);
    if (!sound) {
      if (sound.error().code == core::ErrorCode::kUnsupported) return core::Forward(sound);
      return Damaged(path, sound.error().message);
    }
  }
  if (count != expected) return Damaged(path, "records of table " + name + " are missing");
  return count;
}

core::Result<DatabaseInfo> Walk(const std::string& path, std::uint32_t known_schema) {
  auto env = lmdb::Env::Open({.path = path, .map_bytes = 1 << 20, .read_only = true});
  if (!env) return Damaged(path, env);
  auto txn = env->BeginRead();
  if (!txn) return Damaged(path, txn);

  auto meta = txn->OpenTable(std::string(TableName(Table::kMeta)).c_str());
  if (!meta) return Damaged(path, meta);
  if (!*meta) return Damaged(path, "its meta table is missing");
  auto record = txn->Get(**meta, kMetaKey);
  if (!record) return Damaged(path, record);
  if (!*record) return Damaged(path, "its meta record is missing");
  auto schema = PeekSchemaVersion(**record);
  if (!schema && schema.error().code == core::ErrorCode::kUnsupported) {
    return core::Forward(schema);
  }
  if (!schema) return Damaged(path, schema.error().message);
  if (*schema > known_schema) {
    return core::Fail(core::ErrorCode::kUnsupported,
                      "the database " + path + " has schema version " + std::to_string(*schema) +
                          ", written by a newer ringscale; this one knows up to version " +
                          std::to_string(known_schema) +
                          ": use the newer program, or restore a backup made with this one");
  }

  DatabaseInfo info{*schema, 0};
  std::uint64_t pages = 0;
  for (const Table table : kAllTables) {
    auto dbi = txn->OpenTable(std::string(TableName(table)).c_str());
    if (!dbi) return Damaged(path, dbi);
    if (!*dbi) continue;  // a table that this schema version did not have yet
    auto stat = txn->Stat(**dbi);
    if (!stat) return Damaged(path, stat);
    pages += stat->pages;
    auto count = WalkTable(path, *txn, **dbi, table, *schema == known_schema, stat->entries);
    if (!count) return core::Forward(count);
    info.records += *count;
  }
  if (auto sound = env->CheckPages(*txn, pages); !sound) return Damaged(path, sound);
  return info;
}

// The child's whole life. The answer goes through `out`: "ok <schema> <records>",
// or "<error code> <message>".
[[noreturn]] void RunChild(int out, const std::string& path, std::uint32_t known_schema) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Whatever the program did with these signals, here they just end the child.
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM, SIGPIPE, SIGTERM}) {
    ::signal(signal, SIG_DFL);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  // Libraries that abort print first; the parent says it in our words.
  if (const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC); null >= 0) ::dup2(null, 2);
  ::alarm(kMaxSeconds);

  std::string answer;
  if (auto info = Walk(path, known_schema)) {
    answer = "ok " + std::to_string(info->schema_version) + " " + std::to_string(info->records);
  } else {
    answer = std::to_string(static_cast<int>(info.error().code)) + " " + info.error().message;
  }
  std::string_view rest = answer;
  while (!rest.empty()) {
    const ssize_t n = ::write(out, rest.data(), rest.size());
    if (n < 0 && errno != EINTR) ::_exit(1);
    if (n > 0) rest.remove_prefix(static_cast<std::size_t>(n));
  }
  ::_exit(0);
}

std::optional<std::uint64_t> TakeNumber(std::string_view& in) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(in.data(), in.data() + in.size(), number);
  if (error != std::errc()) return std::nullopt;
  in.remove_prefix(static_cast<std::size_t>(end - in.data()));
  if (!in.empty()) in.remove_prefix(1);
  return number;
}

core::Result<DatabaseInfo> ReadAnswer(std::string_view answer, int status,
                                      const std::string& path) {
  if (WIFSIGNALED(status)) {
    return Damaged(path, std::string("reading it fails (") + ::strsignal(WTERMSIG(status)) + ")");
  }
  if (answer.starts_with("ok ")) {
    answer.remove_prefix(3);
    const auto schema = TakeNumber(answer);
    const auto records = TakeNumber(answer);
    if (schema && records) return DatabaseInfo{static_cast<std::uint32_t>(*schema), *records};
  } else if (const auto code = TakeNumber(answer)) {
    return core::Fail(static_cast<core::ErrorCode>(*code), std::string(answer));
  }
  return Damaged(path, "reading it fails");
}

}  // namespace

core::Result<DatabaseInfo> CheckDatabase(const std::string& path, std::uint32_t known_schema) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return core::FailErrno("opening " + path, errno);
  // LMDB would take an empty file for a new database.
  if (status.st_size == 0) return Damaged(path, "it is empty");

  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return core::FailErrno("checking the database", errno);
  core::Fd in(ends[0]);
  core::Fd out(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return core::FailErrno("checking the database", errno);
  if (child == 0) RunChild(out.get(), path, known_schema);
  out.Reset();

  std::string answer;
  char buffer[4096];
  for (;;) {
    const ssize_t n = ::read(in.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    answer.append(buffer, static_cast<std::size_t>(n));
  }
  int exit_status = 0;
  while (::waitpid(child, &exit_status, 0) < 0) {
    if (errno != EINTR) return core::FailErrno("checking the database", errno);
  }
  return ReadAnswer(answer, exit_status, path);
}

}  // namespace ringscale::storage
