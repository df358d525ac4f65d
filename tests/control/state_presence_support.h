// What the tests of nodes that come and go share.
#pragma once

#include <gtest/gtest.h>

#include <string_view>

#include "tests/control/state_support.h"

namespace ringscale::control::testing {

inline NodeReport Reported(std::string_view hostinfo) {
  NodeReport report;
  report.capability_version = 140;
  report.hostinfo = hostinfo;
  return report;
}

class PresenceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    alice = tailnet.AddUser("alice");
    tailnet.recorder().Take();
  }
  void Pass(int seconds) { tailnet.loop().Advance(core::Seconds(seconds)); }
  Registry& registry() { return tailnet.registry(); }

  Tailnet tailnet;
  UserId alice = 0;
};

}  // namespace ringscale::control::testing
