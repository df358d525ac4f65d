// A configuration that is good, read from its text.
#pragma once

#include <gtest/gtest.h>

#include <string_view>

#include "tools/serverd/config.h"

namespace ringscale::serverd {

inline Config Parse(std::string_view text) {
  auto config = ParseConfig(text, "test.toml");
  EXPECT_TRUE(config) << config.error().message;
  return config ? *config : Config{};
}

}  // namespace ringscale::serverd
