#include <CLI/CLI.hpp>

#include <memory>
#include <string>

#include "core/crypto/keys.h"
#include "tools/ctl/output_file.h"
#include "tools/ctl/tree.h"

namespace ringscale::ctl {
namespace {

using core::ErrorCode;
using core::Fail;
using core::Result;

Result<int> BackupToStdout(Session& session) {
  const int fd = session.terminal().out_fd;
  if (session.terminal().out_is_tty) {
    return Fail(ErrorCode::kInvalid,
                "a backup is not for a terminal to show: name a file, or pipe it on");
  }
  auto done = session.Download("/local/backup", [fd](std::string_view piece) {
    return WriteAll(fd, piece, "standard output");
  });
  if (!done) return core::Forward(done);
  return 0;
}

Result<int> Backup(Session& session, const std::string& path) {
  if (path.empty()) {
    return Fail(ErrorCode::kInvalid, "missing FILE: where the backup goes (- is standard output)");
  }
  if (path == "-") return BackupToStdout(session);
  auto file = OutputFile::Create(path, session.globals().force);
  if (!file) return core::Forward(file);
  std::uint64_t bytes = 0;
  auto done = session.Download("/local/backup", [&](std::string_view piece) {
    bytes += piece.size();
    return file->Write(piece);
  });
  if (!done) return core::Forward(done);
  if (auto finished = file->Finish(); !finished) return core::Forward(finished);
  session.Print(Value::Object({{"file", Value::String(path)},
                               {"bytes", Value::Number(std::to_string(bytes))}}),
                "Backup written to " + path + " (" + std::to_string(bytes) +
                    " bytes). It holds the server's private keys: keep it safe.");
  return 0;
}

void AddBackup(Tree& tree) {
  const auto file = std::make_shared<std::string>();
  CLI::App* command = tree.Command(
      tree.root(),
      {.name = "backup",
       .aliases = {},
       .summary = "write a backup of the running server",
       .details = "The backup holds the database as of now, the private keys (control, relay, "
                  "TLS) and the configuration. The server goes on meanwhile. The file is readable "
                  "by its owner only; an existing one is kept unless --force is given.",
       .examples = {{"backup /var/backups/ringscale.backup", "Write a backup."},
                    {"backup - | age -r KEY > ringscale.age", "Encrypt it on the way."}}},
      [file](Session& session) { return Backup(session, *file); });
  command->add_option("file", *file, "The file to write; - is standard output.")->type_name("FILE");
}

void AddRestore(Tree& tree) {
  const auto file = std::make_shared<std::string>();
  const Globals& globals = tree.globals();
  CLI::App* command = tree.Command(
      tree.root(),
      {.name = "restore",
       .aliases = {},
       .summary = "put a backup in place",
       .details = "The backup is checked completely before anything is changed. Refused while a "
                  "server runs on the data directory, and for backups of a newer version. Data "
                  "that is there already is kept unless --force is given.",
       .examples = {{"restore /var/backups/ringscale.backup", "Restore into the data directory."},
                    {"restore backup --data-dir /tmp/try", "Restore elsewhere, to look at it."}}},
      [file, &globals](Session& session) -> Result<int> {
        if (file->empty()) {
          return Fail(ErrorCode::kInvalid, "missing FILE: the backup (- is standard input)");
        }
        RestoreFlags flags;
        flags.file = *file;
        flags.config = globals.client.config;
        if (!globals.client.data_dir.empty()) flags.data_dir = globals.client.data_dir;
        flags.force = globals.force;
        auto done = session.commands().restore(flags);
        if (!done) return core::Forward(done);
        session.Print(Value::Object({{"Result", Value::String(*done)}}), *done);
        return 0;
      });
  tree.ShowAsRequired(
      *command,
      command->add_option("file", *file, "The backup; - is standard input.")->type_name("FILE"));
}

void AddGenerate(Tree& tree) {
  CLI::App* generate = tree.Group(
      tree.root(), {.name = "generate", .aliases = {"gen"}, .summary = "make keys", .details = ""});
  tree.Command(*generate,
               {.name = "private-key",
                .aliases = {},
                .summary = "print a new private key for the server",
                .details = "Whoever has the server's key can pose as the server."},
               [](Session& session) -> Result<int> {
                 const std::string key = core::PrivateKey::Generate().TextForKeyFile();
                 session.Print(Value::Object({{"private_key", Value::String(key)}}), key);
                 return 0;
               });
}

}  // namespace

void AddDataCommands(Tree& tree) {
  AddBackup(tree);
  AddRestore(tree);
  AddGenerate(tree);
}

}  // namespace ringscale::ctl
