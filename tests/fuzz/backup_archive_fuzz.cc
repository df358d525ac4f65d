// Any bytes as a backup, in pieces, and with right header checksums so that the
// entries are reached.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "core/base/bytes.h"
#include "storage/backup/bundle.h"
#include "storage/commit/migrations.h"
#include "tests/fuzz/accepted.h"

namespace {

using namespace ringscale;
using namespace ringscale::storage;

class Sink final : public BackupReader::Handler {
 public:
  core::Result<> OnFile(std::string_view name, std::string_view content) override {
    if (!IsSafeArchiveName(name) || content.size() > kMaxBackupFileBytes) std::abort();
    return {};
  }
  core::Result<> OnRecord(Table, std::string_view, std::string_view) override { return {}; }
};

void Read(std::string_view archive, std::size_t piece) {
  Sink sink;
  BackupReader reader(sink, kSchemaVersion);
  for (std::size_t at = 0; at < archive.size(); at += piece) {
    static_cast<void>(reader.Feed(archive.substr(at, piece)));
  }
  if (reader.Finish()) ringscale::fuzz::Accepted();
}

// Makes an archive of lines "<name>\n<content up to the next zero byte>".
std::string Pack(std::string_view input) {
  std::string archive;
  TarWriter tar(
      [&archive](std::string_view chunk) -> core::Result<> {
        archive.append(chunk);
        return {};
      },
      {});
  constexpr std::string_view kNames[] = {"MANIFEST",      "data/a",    "config/b", "data/c/d",
                                         "database.dump", "CHECKSUMS", "other"};
  while (!input.empty()) {
    const auto name = kNames[static_cast<std::uint8_t>(input[0]) % std::size(kNames)];
    input.remove_prefix(1);
    const std::string_view content = input.substr(0, input.find('\xff'));
    input.remove_prefix(std::min(content.size() + 1, input.size()));
    if (!tar.Begin(name, content.size()) || !tar.Write(content)) std::abort();
  }
  if (!tar.Finish()) std::abort();
  return archive;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = core::AsText({data, size});
  if (input.empty()) return 0;
  Read(input, 1 + data[0]);
  Read(Pack(std::string("\0ringscale-backup 1\nversion 1\n\xff", 31) + std::string(input)), 100);
  Read(Pack(input), 4096);
  return 0;
}
