// The record layer's promise to the relay: once warm, a record costs no allocation,
// neither ours nor OpenSSL's.
#include <gtest/gtest.h>
#include <openssl/crypto.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "core/tls/records.h"
#include "tests/core/tls/tls_test_support.h"

namespace {

std::atomic<std::size_t> allocations{0};

void* CountedMalloc(std::size_t size, const char* /*file*/, int /*line*/) {
  ++allocations;
  return std::malloc(size);
}
void* CountedRealloc(void* memory, std::size_t size, const char* /*file*/, int /*line*/) {
  ++allocations;
  return std::realloc(memory, size);
}
void CountedFree(void* memory, const char* /*file*/, int /*line*/) {
  std::free(memory);
}

// OpenSSL accepts this only before its own first allocation.
const bool counts_openssl =
    CRYPTO_set_mem_functions(CountedMalloc, CountedRealloc, CountedFree) == 1;

}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) std::abort();
  return memory;
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace ringscale::core::tls {
namespace {

TEST(Allocations, NonePerRecord) {
  ASSERT_TRUE(counts_openssl);
  for (const AeadPool::Engine engine : {AeadPool::Engine::kOpenSsl, AeadPool::Engine::kIpsecMb}) {
    for (const Suite suite : test::kAllSuites) {
      AeadPool pool(engine);
      std::vector<test::Ends> connections;
      for (int i = 0; i < 100; ++i) connections.push_back(test::MakeEnds(suite));
      const std::vector<std::uint8_t> text(1437, 't');
      const Bytes pieces[] = {Bytes(text).first(37), Bytes(text).subspan(37)};
      std::vector<std::uint8_t> wire(text.size() + kRecordOverhead);
      const auto pass = [&](test::Ends& ends) {
        return SealRecords(*ends.client, pool, pieces, wire) == wire.size() &&
               RecordReader::Next(*ends.server, pool, wire).kind == RecordEvent::Kind::kData;
      };
      ASSERT_TRUE(pass(connections[0]));
      const std::size_t before = allocations.load();
      bool ok = true;
      for (int round = 0; round < 5; ++round) {
        for (test::Ends& ends : connections) ok = pass(ends) && ok;
      }
      EXPECT_EQ(allocations.load() - before, 0U) << test::SuiteName(suite);
      EXPECT_TRUE(ok);
    }
  }
}

TEST(Allocations, IdleConnectionIsSmall) {
  EXPECT_LE(sizeof(RecordKeys), 300U);
}

}  // namespace
}  // namespace ringscale::core::tls
