// The database's schema and how older ones become it.
//
// A new schema version is needed when a program that does not know the change
// would misread the database: a field that must not be ignored, a table, a new
// meaning. It adds one Migration at the end of the list; released ones are never
// changed. All that are needed run in one transaction, after a copy of the
// database was made beside it.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "storage/store.h"

namespace ringscale::storage {

inline constexpr std::uint32_t kSchemaVersion = 1;

// What a migration can do; everything is part of the one transaction.
class MigrationTarget {
 public:
  virtual ~MigrationTarget() = default;
  // Every record of a table as it is; `visit` must not change the table (collect
  // first). Views end with the call.
  virtual core::Result<> Visit(
      Table table,
      const std::function<core::Result<>(std::string_view key, std::string_view value)>& visit) = 0;
  virtual core::Result<> Put(Table table, std::string_view key, std::string_view value) = 0;
  virtual core::Result<> Delete(Table table, std::string_view key) = 0;
};

struct Migration {
  std::uint32_t from = 0;  // makes a database of version `from` one of `from + 1`
  std::function<core::Result<>(MigrationTarget&)> run;
};

// This program's list, in order of `from`, up to kSchemaVersion. A migration need
// not touch MetaRow::schema_version; it is set after the last one.
const std::vector<Migration>& Migrations();

}  // namespace ringscale::storage
