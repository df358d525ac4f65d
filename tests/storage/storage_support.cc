#include "tests/storage/storage_support.h"

#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <future>
#include <iterator>

#include "storage/codec/keys.h"
#include "storage/codec/rows.h"

namespace ringscale::storage {

UserRow SampleUser(std::uint64_t id) {
  return {.id = id,
          .name = "user" + std::to_string(id),
          .display_name = "User \xc3\xbc",
          .email = "user@example.com",
          .picture_url = "https://example.com/p.png",
          .provider = "oidc",
          .created = {1'700'000'000'123'456'789}};
}

NodeRow SampleNode(std::uint64_t id) {
  NodeRow row;
  row.id = id;
  row.stable_id = "nStable" + std::to_string(id);
  row.machine_key.raw.fill(1);
  row.node_key.raw.fill(2);
  row.disco_key.raw.fill(3);
  row.user_id = 7;
  row.tags = {"tag:a", "tag:b"};
  row.hostname = "Laptop";
  row.given_name = "laptop-1";
  row.ipv4 = core::IpAddress::V4(0x64400001);
  row.ipv6.family = core::IpAddress::Family::kV6;
  row.ipv6.bytes = {0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  row.created = {1'700'000'000'000'000'000};
  row.expiry = core::WallTime{1'800'000'000'000'000'000};
  row.last_seen = core::WallTime{0};
  row.ephemeral = true;
  row.method = RegisterMethod::kOidc;
  row.auth_key_id = 9;
  row.ever_polled = true;
  row.capability_version = 113;
  row.hostinfo = R"({"OS":"linux"})";
  row.approved_routes = {{core::IpAddress::V4(0x0A000000), 8}, {row.ipv6, 0}};
  row.primary_routes = {{core::IpAddress::V4(0x0A000000), 8}};
  row.ssh_approvals = {
      {.source = 3, .owner = 0, .at = core::WallTime{1}},
      {.source = 300, .owner = 7, .at = core::WallTime{1'700'000'000'000'000'123}}};
  return row;
}

PreAuthKeyRow SampleKey(std::uint64_t id) {
  PreAuthKeyRow row;
  row.id = id;
  row.prefix = "abcdef";
  row.secret_hash.fill(4);
  row.legacy_hash = "$2a$10$x";
  row.user_id = 3;
  row.tags = {"tag:x"};
  row.reusable = row.ephemeral = row.used = row.revoked = true;
  row.used_by.raw.fill(5);
  row.created = {-1};
  row.expiry = core::WallTime{12345};
  return row;
}

WriteBatch PutUser(std::uint64_t id) {
  WriteBatch batch;
  batch.Put(Table::kUsers, IdKey(id), Encode(SampleUser(id)));
  return batch;
}

LmdbOptions TestOptions(const tests::TempFolder& dir) {
  LmdbOptions options;
  options.path = dir / "ringscale.db";
  options.initial_map_bytes = 1 << 20;
  options.max_map_bytes = 64 << 20;
  return options;
}

std::unique_ptr<LmdbStore> OpenStore(const LmdbOptions& options) {
  auto store = LmdbStore::Open(options);
  if (!store) {
    ADD_FAILURE() << store.error().message;
    return nullptr;
  }
  return std::move(*store);
}

core::Result<> CommitNow(Store& store, WriteBatch batch) {
  std::promise<core::Result<>> promise;
  store.Commit(std::move(batch), [&](core::Result<> r) { promise.set_value(std::move(r)); });
  return promise.get_future().get();
}

core::Result<std::string> BackupNow(Store& store) {
  std::string dump;
  std::promise<core::Result<>> promise;
  store.Backup(
      [&](std::string_view chunk) -> core::Result<> {
        dump.append(chunk);
        return {};
      },
      [&](core::Result<> r) { promise.set_value(std::move(r)); });
  if (auto result = promise.get_future().get(); !result) return core::Forward(result);
  return dump;
}

Content ReadAll(Store& store) {
  Content content;
  auto loaded = store.LoadAll([&](Table table, std::string_view key, std::string_view value) {
    content[{table, std::string(key)}] = value;
    return core::Result<>{};
  });
  if (!loaded) ADD_FAILURE() << loaded.error().message;
  return content;
}

bool HasUser(Store& store, std::uint64_t id) {
  return ReadAll(store).contains({Table::kUsers, IdKey(id)});
}

std::string ReadText(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteText(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(text.data(), static_cast<std::streamsize>(text.size()));
}

int InChild(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 100 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace ringscale::storage
