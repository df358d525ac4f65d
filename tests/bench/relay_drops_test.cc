#include "bench/lib/relay_drops.h"

#include <gtest/gtest.h>

namespace ringscale::bench {
namespace {

TEST(RelayDrops, ReadsTheNamesOfBothRelays) {
  const RelayDrops ours = ParseDrops(
      "# HELP ringscale_relay_packets_dropped_total Packets not delivered, by reason.\n"
      "ringscale_relay_packets_dropped_total{reason=\"queue_head\",kind=\"other\"} 12\n"
      "ringscale_relay_packets_dropped_total{reason=\"queue_age\",kind=\"disco\"} 3\n"
      "ringscale_relay_packets_sent_total{kind=\"other\"} 99\n"
      "derp_packets_dropped{reason=\"queue_head\",kind=\"other\"} 12\n"
      "ringscale_relay_turns_total 7\n");
  EXPECT_EQ(ours, (RelayDrops{{"reason=\"queue_head\",kind=\"other\"", 12},
                              {"reason=\"queue_age\",kind=\"disco\"", 3}}));
  const RelayDrops derper = ParseDrops(
      "derp_bytes_dropped{reason=\"queue_head\",kind=\"other\"} 1400\n"
      "derp_packets_dropped{reason=\"queue_head\",kind=\"other\"} 1");
  EXPECT_EQ(derper, (RelayDrops{{"reason=\"queue_head\",kind=\"other\"", 1}}));
}

TEST(RelayDrops, WhatIsNoCounterIsSkipped) {
  EXPECT_EQ(ParseDrops(""), RelayDrops{});
  EXPECT_EQ(ParseDrops("HTTP/1.1 200 OK\r\n\r\n<html>{}</html>\nderp_packets_dropped{a} many\n"
                       "derp_packets_dropped{a\nderp_packets_dropped 5\n"),
            RelayDrops{});
}

TEST(RelayDrops, OnlyWhatWasAddedCounts) {
  EXPECT_EQ(DropsSince({{"a", 5}, {"b", 2}, {"c", 1}}, {{"a", 3}, {"b", 2}}),
            (RelayDrops{{"a", 2}, {"c", 1}}));
}

}  // namespace
}  // namespace ringscale::bench
