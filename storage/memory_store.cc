#include "storage/memory_store.h"

#include "storage/codec/rows.h"
#include "storage/commit/dump.h"

namespace ringscale::storage {

MemoryStore::MemoryStore(Mode mode) : mode_(mode) {
  MetaRow meta;
  meta.server_id = "00000000000000000000000000000001";
  records_[{Table::kMeta, std::string(kMetaKey)}] = Encode(meta);
}

MemoryStore::MemoryStore(Mode mode, Records records) : mode_(mode), records_(std::move(records)) {}

core::Result<> MemoryStore::LoadAll(const Visitor& visit) {
  for (const auto& [where, value] : records_) {
    if (auto result = visit(where.first, where.second, value); !result) return result;
  }
  return {};
}

void MemoryStore::Commit(WriteBatch batch, Done done) {
  Pending pending{std::move(batch), std::move(done)};
  if (closed_) {
    pending.done(core::Fail(core::ErrorCode::kClosed, "the store is closed"));
  } else if (mode_ == Mode::kImmediate) {
    Finish(std::move(pending), std::nullopt);
  } else {
    pending_.push_back(std::move(pending));
  }
}

void MemoryStore::Finish(Pending pending, std::optional<core::Error> error) {
  if (!error && failures_left_ > 0) {
    --failures_left_;
    error = failure_;
  }
  if (error) {
    health_ = std::unexpected(*error);
    return pending.done(health_);
  }
  for (const auto& change : pending.batch.changes()) {
    std::pair where(change.table, change.key);
    if (change.value) {
      records_[std::move(where)] = *change.value;
    } else {
      records_.erase(where);
    }
  }
  ++commits_;
  health_ = {};
  pending.done({});
}

bool MemoryStore::CompleteNext() {
  if (pending_.empty()) return false;
  Pending next = std::move(pending_.front());
  pending_.pop_front();
  Finish(std::move(next), std::nullopt);
  return true;
}

bool MemoryStore::FailNext(core::Error error) {
  if (pending_.empty()) return false;
  Pending next = std::move(pending_.front());
  pending_.pop_front();
  Finish(std::move(next), std::move(error));
  return true;
}

std::size_t MemoryStore::CompleteAll() {
  std::size_t count = 0;
  while (CompleteNext()) ++count;
  return count;
}

void MemoryStore::FailCommits(std::size_t count, core::Error error) {
  failures_left_ = count;
  failure_ = std::move(error);
}

std::optional<std::string> MemoryStore::Get(Table table, std::string_view key) const {
  const auto found = records_.find({table, std::string(key)});
  if (found == records_.end()) return std::nullopt;
  return found->second;
}

void MemoryStore::Backup(ChunkSink write, Done done) {
  DumpSize size;
  std::uint32_t schema = 0;
  for (const auto& [where, value] : records_) size.Add(where.second, value);
  if (const auto meta = Get(Table::kMeta, kMetaKey)) {
    if (const auto version = PeekSchemaVersion(*meta)) schema = *version;
  }
  DumpWriter writer(schema, size, std::move(write));
  for (const auto& [where, value] : records_) {
    if (auto result = writer.Record(where.first, where.second, value); !result) {
      return done(std::move(result));
    }
  }
  done(writer.Finish());
}

void MemoryStore::Close() {
  CompleteAll();
  closed_ = true;
}

}  // namespace ringscale::storage
