// What the kernel is asked, against system calls that only remember it. The real
// ones are used in tests/relay/relay_service_test.cc where a kernel has TLS.
#include "core/tls/kernel_tls.h"

#include <gtest/gtest.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "core/base/fd.h"
#include "core/tls/records.h"
#include "tests/core/tls/tls_test_support.h"

namespace ringscale::core::tls {
namespace {

struct Call {
  int level;
  int option;
  std::vector<std::uint8_t> value;
};

// One at a time: the calls have no context of their own.
struct FakeKernel {
  static inline std::vector<Call> calls;
  static inline std::vector<int> errors;  // of the next calls, in order; then none
  static inline std::uint64_t sequence = 0;

  FakeKernel() {
    calls.clear();
    errors.clear();
    sequence = 0;
  }
  static int Set(int, int level, int option, const void* value, socklen_t size) {
    const auto* bytes = static_cast<const std::uint8_t*>(value);
    calls.push_back({level, option, {bytes, bytes + size}});
    if (calls.size() > errors.size() || errors[calls.size() - 1] == 0) return 0;
    errno = errors[calls.size() - 1];
    return -1;
  }
  static int Get(int, int level, int option, void* value, socklen_t* size) {
    EXPECT_EQ(level, SOL_TLS);
    EXPECT_EQ(option, TLS_TX);
    EXPECT_GE(*size, sizeof(sequence));
    StoreBe64(static_cast<std::uint8_t*>(value) + *size - sizeof(sequence), sequence);
    return 0;
  }
  static SocketOptionCalls Calls() { return {.set = &Set, .get = &Get}; }
};

template <class Info>
void ExpectKey(const Call& call, int option, std::uint16_t cipher, const DirectionKeys& keys) {
  EXPECT_EQ(call.level, SOL_TLS);
  EXPECT_EQ(call.option, option);
  ASSERT_EQ(call.value.size(), sizeof(Info));
  Info info;
  std::memcpy(&info, call.value.data(), sizeof(info));
  EXPECT_EQ(info.info.version, 0x0304);
  EXPECT_EQ(info.info.cipher_type, cipher);
  EXPECT_EQ(std::memcmp(info.key, keys.key, sizeof(info.key)), 0);
  EXPECT_EQ(std::memcmp(info.salt, keys.iv, 4), 0);
  EXPECT_EQ(std::memcmp(info.iv, keys.iv + 4, 8), 0);
  EXPECT_EQ(LoadBe64(info.rec_seq), keys.sequence);
}

TEST(KernelTls, BothKeysGoInWithTheNextRecordsNumber) {
  const FakeKernel kernel;
  test::Ends ends = test::MakeEnds(Suite::kAes128GcmSha256);
  ends.server->receive.sequence = 3;
  ends.server->send.sequence = 0x0102030405060708;
  ASSERT_EQ(InstallKernelTls(5, *ends.server, FakeKernel::Calls()), KernelTlsRefusal::kNone);
  ASSERT_EQ(FakeKernel::calls.size(), 3u);
  EXPECT_EQ(FakeKernel::calls[0].level, IPPROTO_TCP);
  EXPECT_EQ(FakeKernel::calls[0].option, TCP_ULP);
  EXPECT_EQ(std::memcmp(FakeKernel::calls[0].value.data(), "tls", 4), 0);
  ExpectKey<tls12_crypto_info_aes_gcm_128>(FakeKernel::calls[1], TLS_RX, 51, ends.server->receive);
  ExpectKey<tls12_crypto_info_aes_gcm_128>(FakeKernel::calls[2], TLS_TX, 51, ends.server->send);
}

TEST(KernelTls, TheLongKeyHasItsOwnStructure) {
  const FakeKernel kernel;
  const test::Ends ends = test::MakeEnds(Suite::kAes256GcmSha384);
  ASSERT_EQ(InstallKernelTls(5, *ends.server, FakeKernel::Calls()), KernelTlsRefusal::kNone);
  ASSERT_EQ(FakeKernel::calls.size(), 3u);
  ExpectKey<tls12_crypto_info_aes_gcm_256>(FakeKernel::calls[1], TLS_RX, 52, ends.server->receive);
  ExpectKey<tls12_crypto_info_aes_gcm_256>(FakeKernel::calls[2], TLS_TX, 52, ends.server->send);
}

TEST(KernelTls, WhatCannotMoveIsNotTried) {
  const FakeKernel kernel;
  const auto refusal = [](const RecordKeys& keys) {
    return InstallKernelTls(5, keys, FakeKernel::Calls());
  };
  EXPECT_EQ(refusal(*test::MakeEnds(Suite::kChacha20Poly1305Sha256).server),
            KernelTlsRefusal::kCipher);
  test::Ends small = test::MakeEnds(Suite::kAes128GcmSha256);
  small.server->max_plaintext = 512;
  EXPECT_EQ(refusal(*small.server), KernelTlsRefusal::kRecordSize);
  test::Ends owing = test::MakeEnds(Suite::kAes128GcmSha256);
  owing.server->key_update_pending = true;
  EXPECT_EQ(refusal(*owing.server), KernelTlsRefusal::kPartialRecord);
  EXPECT_TRUE(FakeKernel::calls.empty());
}

TEST(KernelTls, ARefusalIsToldApartFromHalfAMove) {
  const test::Ends ends = test::MakeEnds(Suite::kAes128GcmSha256);
  const auto refusal = [&](std::vector<int> errors) {
    const FakeKernel kernel;
    FakeKernel::errors = std::move(errors);
    return InstallKernelTls(5, *ends.server, FakeKernel::Calls());
  };
  EXPECT_EQ(refusal({ENOENT}), KernelTlsRefusal::kKernel);
  EXPECT_EQ(refusal({0, EINVAL}), KernelTlsRefusal::kKernel);
  EXPECT_EQ(refusal({0, 0, ENOMEM}), KernelTlsRefusal::kBroken);
}

TEST(KernelTls, TheKernelSaysHowManyRecordsItSent) {
  const FakeKernel kernel;
  FakeKernel::sequence = 0x1122334455667788;
  EXPECT_EQ(RecordsSent(5, Suite::kAes128GcmSha256, FakeKernel::Calls()), FakeKernel::sequence);
  EXPECT_EQ(RecordsSent(5, Suite::kAes256GcmSha384, FakeKernel::Calls()), FakeKernel::sequence);
}

TEST(KernelTls, TheProbeTellsWhatIsMissing) {
  const auto probe = [](std::vector<int> errors) {
    const FakeKernel kernel;
    FakeKernel::errors = std::move(errors);
    return ProbeKernelTls(FakeKernel::Calls());
  };
  const KernelTlsSupport all = probe({});
  EXPECT_TRUE(all.available && all.rekeys) << all.why;
  // Attaching, two keys, one more: as Linux before 6.14 answers.
  const KernelTlsSupport old = probe({0, 0, 0, EBUSY, 0, 0, 0, EBUSY});
  EXPECT_TRUE(old.available && !old.rekeys);
  EXPECT_NE(old.why.find("cannot change a key"), std::string::npos) << old.why;
  const KernelTlsSupport none = probe({ENOENT});
  EXPECT_FALSE(none.available || none.rekeys);
  EXPECT_NE(none.why.find("modprobe tls"), std::string::npos) << none.why;
  const KernelTlsSupport no_long_keys = probe({0, 0, 0, 0, 0, EINVAL});
  EXPECT_FALSE(no_long_keys.available);
}

TEST(KernelTls, AControlMessageCarriesTheRecordType) {
  msghdr message{};
  RecordTypeBuffer buffer;
  SetRecordType(message, buffer, kTypeAlert);
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  ASSERT_NE(header, nullptr);
  EXPECT_EQ(header->cmsg_level, SOL_TLS);
  EXPECT_EQ(header->cmsg_type, TLS_SET_RECORD_TYPE);
  EXPECT_EQ(header->cmsg_len, CMSG_LEN(1));
  EXPECT_EQ(*CMSG_DATA(header), 21);
}

TEST(KernelTls, AReceiveWithoutARecordSaysSo) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const Fd one(pair[0]);
  Fd other(pair[1]);
  std::vector<std::uint8_t> memory(kMaxPlaintext);
  EXPECT_EQ(ReceiveControlRecord(one.get(), memory).error, EAGAIN);
  other.Reset();
  const ControlRecord end = ReceiveControlRecord(one.get(), memory);
  EXPECT_EQ(end.error, 0);
  EXPECT_EQ(end.type, 0);
  EXPECT_EQ(end.size, 0u);
}

}  // namespace
}  // namespace ringscale::core::tls
