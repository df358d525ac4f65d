// PingRequests on map streams.
#include <gtest/gtest.h>

#include "tests/control/map_support.h"

namespace ringscale::control::testing {
namespace {

using MapPing = MapServiceTest;

TEST_F(MapPing, RidesOnAKeepAliveAndRepeatsTheAuthority) {
  StartWith(1);
  EXPECT_FALSE(service->Ping(1, "/machine/ping-response?id=0")) << "no stream";
  EXPECT_EQ(service->HostOf(1), std::nullopt);
  TestClient client(*service, tailnet, 1);
  EXPECT_FALSE(service->Ping(1, "/machine/ping-response?id=0")) << "no map yet";
  client.Drain();
  EXPECT_TRUE(service->HostOf(1));

  const auto ping = [&](const std::string& id) {
    const int wakes = client.waker.wakes;
    EXPECT_TRUE(service->Ping(1, "/machine/ping-response?id=" + id));
    EXPECT_GT(client.waker.wakes, wakes);
    client.Drain();
    return DecodeFrames(client.raw_messages().back()).value_or("");
  };
  EXPECT_EQ(ping("1"), R"({"KeepAlive":true,"PingRequest":{)"
                       R"("URL":"https://unused/machine/ping-response?id=1","URLIsNoise":true}})");
  client.SetAuthority("vpn.example:8443");
  EXPECT_EQ(ping("2"),
            R"({"KeepAlive":true,"PingRequest":{)"
            R"("URL":"https://vpn.example:8443/machine/ping-response?id=2","URLIsNoise":true}})");
  client.SetAuthority("x/y?z");
  EXPECT_NE(ping("3").find("https://unused/machine"), std::string::npos);
  EXPECT_EQ(service->stats().pings.Value(), 3U);
  ExpectConverged(client, tailnet, policy);
}

}  // namespace
}  // namespace ringscale::control::testing
