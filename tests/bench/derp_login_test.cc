// The bench's login against the relay's own side of it.
#include "bench/lib/derp_login.h"

#include <gtest/gtest.h>

#include "relay/app/admission_set.h"
#include "relay/login/server_login.h"

namespace ringscale::bench {
namespace {

class DerpLoginTest : public testing::Test {
 protected:
  RelayTarget target_ = *ParseRelayUrl("derp://127.0.0.1:3340");
  core::PrivateKey client_key_ = core::PrivateKey::Generate();
  core::PrivateKey server_key_ = core::PrivateKey::Generate();
  relay::OpenAdmission everybody_;
  relay::LoginContext context_{.server_key = server_key_,
                               .server_public = server_key_.PublicRaw(),
                               .admission = everybody_,
                               .mesh_key = std::nullopt};
  core::tls::AeadPool pool_;
  DerpLogin login_{target_, nullptr, client_key_, pool_};

  core::Result<DerpLogin::Status> Feed(std::string bytes) {
    return login_.Feed({reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()});
  }
};

TEST_F(DerpLoginTest, LogsInToOurOwnServerInPieces) {
  ASSERT_TRUE(Feed({}).has_value());
  const std::string request = login_.TakeOutput();
  EXPECT_TRUE(request.starts_with("GET /derp HTTP/1.1\r\nHost: 127.0.0.1:3340\r\n"));
  EXPECT_TRUE(request.ends_with("\r\n\r\n"));

  relay::ServerLogin server(context_, {});
  std::string to_client = server.Start();
  std::string to_server;
  bool done = false;
  for (int i = 0; i < 1000 && !done; ++i) {
    const std::string piece = to_client.substr(0, 1);
    to_client.erase(0, 1);
    const auto status = Feed(piece);
    ASSERT_TRUE(status.has_value()) << status.error().message;
    done = *status == DerpLogin::Status::kDone;
    to_server = login_.TakeOutput();
    if (to_server.empty()) continue;
    const auto fed = server.Feed(core::AsBytes(to_server));
    ASSERT_TRUE(fed.has_value()) << fed.error().message;
    EXPECT_EQ(*fed, relay::ServerLogin::Status::kDone);
    to_client += server.TakeOutput();
  }
  ASSERT_TRUE(done);
  EXPECT_EQ(server.TakeClient().key, client_key_.PublicAs<core::NodePublic>());
}

TEST_F(DerpLoginTest, KeepsWhatFollowsServerInfo) {
  ASSERT_TRUE(Feed({}).has_value());
  relay::ServerLogin server(context_, {});
  ASSERT_TRUE(Feed(server.Start()).has_value());
  (void)login_.TakeOutput();
  // ServerInfo of an empty box, then a keep-alive.
  const std::string frames("\x03\0\0\0\0\x06\0\0\0\0", 10);
  const auto status = Feed(frames);
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(*status, DerpLogin::Status::kDone);
  const auto established = login_.Take();
  EXPECT_EQ(established.tls, nullptr);
  EXPECT_EQ(established.plaintext, (std::vector<std::uint8_t>{6, 0, 0, 0, 0}));
}

TEST_F(DerpLoginTest, SaysWhatTheRelayAnsweredInstead) {
  ASSERT_TRUE(Feed({}).has_value());
  const auto refused = Feed("HTTP/1.1 426 Upgrade Required\r\n\r\nDERP requires TLS");
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("426 Upgrade Required"), std::string::npos);
}

TEST_F(DerpLoginTest, RefusesWhatIsNoDerpServer) {
  ASSERT_TRUE(Feed({}).has_value());
  EXPECT_FALSE(Feed("HTTP/1.1 101 Switching Protocols\r\n\r\n" + std::string(60, '\x01')));
}

TEST_F(DerpLoginTest, DoesNotReadAHeadWithoutEnd) {
  ASSERT_TRUE(Feed({}).has_value());
  EXPECT_FALSE(Feed(std::string(9000, 'x')).has_value());
}

}  // namespace
}  // namespace ringscale::bench
