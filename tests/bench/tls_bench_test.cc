// What the comparison of the TLS transports advises.
#include "bench/lib/tls_bench.h"

#include <gtest/gtest.h>

#include <string>

namespace ringscale::bench {
namespace {

bool Says(const std::string& advice, const char* what) {
  return advice.find(what) != std::string::npos;
}

TEST(TlsAdvice, WhatIsCheaperIsToBeSet) {
  const core::tls::KernelTlsSupport support{.available = true, .rekeys = true, .why = {}};
  EXPECT_TRUE(Says(TlsAdvice(support, 2.0, 1.0), "set engine.tls = \"kernel\""));
  EXPECT_TRUE(Says(TlsAdvice(support, 1.0, 2.0), "set engine.tls = \"user\""));
  EXPECT_TRUE(Says(TlsAdvice(support, 1.0, 0.99), "set engine.tls = \"user\""))
      << "a difference that is noise";
  EXPECT_FALSE(Says(TlsAdvice(support, 2.0, 1.0), "reconnects"));
}

TEST(TlsAdvice, AKernelThatCannotChangeKeysIsNamed) {
  const core::tls::KernelTlsSupport support{.available = true, .rekeys = false, .why = {}};
  EXPECT_TRUE(Says(TlsAdvice(support, 2.0, 1.0), "cannot change keys"));
  EXPECT_FALSE(Says(TlsAdvice(support, 1.0, 2.0), "cannot change keys"));
}

TEST(TlsAdvice, WithoutTlsInTheKernelItIsUserSpace) {
  const std::string advice = TlsAdvice({}, 1.0, std::nullopt);
  EXPECT_TRUE(Says(advice, "could not be measured"));
  EXPECT_TRUE(Says(advice, "set engine.tls = \"user\""));
}

}  // namespace
}  // namespace ringscale::bench
