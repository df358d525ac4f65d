// Any bytes as a stored record and as a database dump: an error or a row that
// encodes to the same bytes.
#include <cstdlib>
#include <string>

#include "core/base/bytes.h"
#include "storage/codec/checksum.h"
#include "storage/codec/rows.h"
#include "storage/commit/dump.h"
#include "storage/commit/migrations.h"
#include "tests/fuzz/accepted.h"

namespace {

using namespace ringscale;
using namespace ringscale::storage;

template <class Row>
void Check(const core::Result<Row>& row, std::string_view record, bool exact) {
  if (row && exact && Encode(*row) != record) std::abort();
  if (row) ringscale::fuzz::Accepted();
}

void TryRecord(std::string_view record, bool exact) {
  Check(DecodeMeta(record), record, exact);
  Check(DecodeUser(record), record, exact);
  Check(DecodeNode(record), record, exact);
  Check(DecodePreAuthKey(record), record, exact);
  Check(DecodePolicy(record), record, exact);
  static_cast<void>(PeekSchemaVersion(record));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = core::AsText({data, size});
  TryRecord(input, true);

  // With a right frame, so that the fields are reached. Ignorable fields are not
  // written again: then the bytes differ.
  if (size > 0) {
    std::string record{static_cast<char>(1), static_cast<char>(data[0] % 8)};
    record += input.substr(1);
    std::uint8_t crc[4];
    core::StoreBe32(crc, Crc32c(core::AsBytes(record)));
    record += core::AsText(crc);
    TryRecord(record, false);
    static_cast<void>(VerifyRecord(static_cast<Table>(data[0] % 8), input.substr(0, 8), record));
  }

  DumpReader reader(kSchemaVersion,
                    [](Table, std::string_view, std::string_view) { return core::Result<>{}; });
  const std::size_t half = size / 2;
  static_cast<void>(reader.Feed(input.substr(0, half)));
  static_cast<void>(reader.Feed(input.substr(half)));
  static_cast<void>(reader.Finish());
  return 0;
}
