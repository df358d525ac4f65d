#include "storage/backup/staging.h"

#include <filesystem>
#include <system_error>
#include <vector>

#include "storage/files.h"

namespace ringscale::storage {
namespace {

namespace fs = std::filesystem;

std::string Join(const std::string& dir, std::string_view name) {
  return dir + "/" + std::string(name);
}

std::unexpected<core::Error> Failed(const std::string& what, const std::error_code& error) {
  return core::Fail(core::ErrorCode::kIo, what + ": " + error.message());
}

// Renames `from` to `to`, directories of `to` included.
core::Result<> Move(const std::string& from, const std::string& to) {
  if (auto made = MakeDirectories(to.substr(0, to.rfind('/')), 0700); !made) return made;
  return RenameFile(from, to);
}

}  // namespace

core::Result<std::string> BeginStaging(const std::string& data_dir) {
  std::string partial = Join(data_dir, kStagingPartial);
  std::error_code error;
  fs::remove_all(partial, error);
  if (error) return Failed("removing " + partial, error);
  if (auto made = MakeDirectories(partial, 0700); !made) return core::Forward(made);
  return partial;
}

core::Result<> CommitStaging(const std::string& data_dir) {
  const std::string partial = Join(data_dir, kStagingPartial);
  std::error_code error;
  for (fs::recursive_directory_iterator it(partial, error), end; !error && it != end;
       it.increment(error)) {
    if (!it->is_directory(error)) continue;
    if (auto synced = SyncDirectory(it->path().string()); !synced) return synced;
  }
  if (error) return Failed("reading " + partial, error);
  if (auto synced = SyncDirectory(partial); !synced) return synced;
  if (auto renamed = RenameFile(partial, Join(data_dir, kStagingReady)); !renamed) return renamed;
  if (auto synced = SyncDirectory(data_dir); !synced) return synced;
  return CompleteStagedRestore(data_dir);
}

void AbandonStaging(const std::string& data_dir) {
  std::error_code error;
  fs::remove_all(Join(data_dir, kStagingPartial), error);
}

core::Result<> CompleteStagedRestore(const std::string& data_dir) {
  const std::string ready = Join(data_dir, kStagingReady);
  if (!FileExists(ready)) return {};
  std::vector<std::string> files;
  std::error_code error;
  for (fs::recursive_directory_iterator it(ready, error), end; !error && it != end;
       it.increment(error)) {
    if (it->is_regular_file(error)) files.push_back(it->path().string().substr(ready.size() + 1));
  }
  if (error) return Failed("reading " + ready, error);
  for (const auto& name : files) {
    const std::string target = Join(data_dir, name);
    if (FileExists(target)) {
      auto kept = Move(target, Join(Join(data_dir, kReplacedFiles), name));
      if (!kept) return kept;
    }
    if (auto moved = Move(Join(ready, name), target); !moved) return moved;
    if (auto synced = SyncDirectory(target.substr(0, target.rfind('/'))); !synced) return synced;
  }
  fs::remove_all(ready, error);
  if (error) return Failed("removing " + ready, error);
  return SyncDirectory(data_dir);
}

}  // namespace ringscale::storage
