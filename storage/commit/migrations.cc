#include "storage/commit/migrations.h"

namespace ringscale::storage {

const std::vector<Migration>& Migrations() {
  static const std::vector<Migration> migrations;  // version 1 is the first
  return migrations;
}

}  // namespace ringscale::storage
