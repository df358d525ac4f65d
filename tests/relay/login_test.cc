#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/hex.h"
#include "core/crypto/box.h"
#include "relay/app/admission_set.h"
#include "relay/login/client_info.h"
#include "relay/login/server_login.h"
#include "relay/wire/frame.h"

namespace ringscale::relay {
namespace {

using core::ErrorCode;
using Status = ServerLogin::Status;

constexpr char kServerPrivate[] =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e5f";
constexpr char kClientPrivate[] =
    "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f";
// JSON {"version":2,"CanAckPings":true} sealed with nonce 80..97.
constexpr char kClientInfoFrame[] =
    "020000006879a631eede1bf9c98f12032cdeadd0e7a079398fc786b88cc846ec89af85a51a"
    "808182838485868788898a8b8c8d8e8f9091929394959697219290e45b879379dd5af35056"
    "33034260e86b271f0a2091260647be758d3445607eef60d6d92e3f52e1171484fcdf5c";
constexpr char kMeshKey[] = "aabbccddeeff00112233445566778899aabbccddeeff00112233445566778899";

core::PrivateKey PrivateOf(const char* hex) {
  std::array<std::uint8_t, 32> raw{};
  EXPECT_TRUE(core::HexDecodeTo(hex, raw));
  return core::PrivateKey::FromRaw(raw);
}

class Login : public testing::Test {
 protected:
  Login()
      : server_(PrivateOf(kServerPrivate)),
        client_(PrivateOf(kClientPrivate)),
        context_{server_, server_.PublicRaw(), admission_, std::nullopt} {
    admission_.Add(client_.PublicAs<core::NodePublic>());
    options_.remote = core::SocketAddress::Parse("192.0.2.1:1234").value();
    options_.over_tls = true;
  }

  std::vector<std::uint8_t> ClientInfoOf(const std::string& json) {
    const auto box = core::SealBox(client_, context_.server_public, json).value();
    std::vector<std::uint8_t> frame(kHeaderBytes);
    frame[0] = 0x02;
    core::StoreBe32(frame.data() + 1, static_cast<std::uint32_t>(32 + box.size()));
    const auto key = client_.PublicRaw();
    frame.insert(frame.end(), key.begin(), key.end());
    frame.insert(frame.end(), box.begin(), box.end());
    return frame;
  }
  core::Result<Status> LogIn(const std::string& json) {
    login_ = std::make_unique<ServerLogin>(context_, options_);
    login_->Start();
    return login_->Feed(ClientInfoOf(json));
  }

  core::PrivateKey server_;
  core::PrivateKey client_;
  AdmissionSet admission_;
  LoginContext context_;
  LoginOptions options_;
  std::unique_ptr<ServerLogin> login_;
};

TEST_F(Login, GreetsWith101AndServerKey) {
  ServerLogin login(context_, options_);
  const std::string out = login.Start();
  const std::string head =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n"
      "Derp-Version: 2\r\nDerp-Public-Key: "
      "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f\r\n\r\n";
  ASSERT_EQ(head.size(), 172u);
  EXPECT_EQ(out.substr(0, head.size()), head);
  EXPECT_EQ(core::HexEncode(core::AsBytes(out).subspan(head.size())),
            "010000002844455250f09f9491"
            "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f");
}

TEST_F(Login, FastStartGetsServerKeyOnly) {
  options_.fast_start = true;
  ServerLogin login(context_, options_);
  EXPECT_EQ(login.Start().size(), kServerKeyFrameBytes);
}

TEST_F(Login, TakesThePublishedClientInfoInPiecesOfEverySize) {
  const auto frame = core::HexDecode(kClientInfoFrame).value();
  ASSERT_EQ(frame.size(), 109u);
  for (std::size_t piece = 1; piece <= frame.size(); ++piece) {
    ServerLogin login(context_, options_);
    login.Start();
    Status status = Status::kNeedMore;
    for (std::size_t at = 0; at < frame.size(); at += piece) {
      ASSERT_EQ(status, Status::kNeedMore);
      const auto result =
          login.Feed(core::Bytes(frame).subspan(at, std::min(piece, frame.size() - at)));
      ASSERT_TRUE(result.has_value()) << result.error().message;
      status = *result;
    }
    ASSERT_EQ(status, Status::kDone);
    // ServerInfo: 24-byte nonce, tag, {"version":2}.
    const std::string info = login.TakeOutput();
    ASSERT_EQ(info.size(), 58u);
    EXPECT_EQ(core::HexEncode(core::AsBytes(info).first(5)), "0300000035");
    EXPECT_EQ(core::OpenBox(client_, context_.server_public, core::AsBytes(info).subspan(5)),
              R"({"version":2})");
    const LoggedInClient client = login.TakeClient();
    EXPECT_EQ(client.key, client_.PublicAs<core::NodePublic>());
    EXPECT_TRUE(client.can_ack_pings);
    EXPECT_FALSE(client.is_prober);
    EXPECT_FALSE(client.can_mesh);
    EXPECT_EQ(client.protocol_version, 2u);
    EXPECT_TRUE(client.plaintext.empty());
  }
}

TEST_F(Login, KeepsWhatFollowsClientInfo) {
  auto bytes = ClientInfoOf(R"({"version":2})");
  const auto more = core::HexDecode("0700000001011200000008").value();
  bytes.insert(bytes.end(), more.begin(), more.end());
  ServerLogin login(context_, options_);
  login.Start();
  ASSERT_EQ(login.Feed(bytes).value(), Status::kDone);
  const std::vector<std::uint8_t> last = {1, 2};
  ASSERT_EQ(login.Feed(last).value(), Status::kDone);
  EXPECT_EQ(core::HexEncode(login.TakeClient().plaintext), "07000000010112000000080102");
}

TEST_F(Login, RefusesWhatIsNoClientInfo) {
  for (const char* hex : {"0400000040", "0000000000", "0200000037", "0200040001",
                          "16030100"
                          "f0"}) {
    ServerLogin login(context_, options_);
    login.Start();
    const auto bytes = core::HexDecode(hex).value();
    const auto result = login.Feed(bytes);
    ASSERT_FALSE(result.has_value()) << hex;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalid);
  }
}

TEST_F(Login, RefusesABoxThatDoesNotOpen) {
  auto bytes = ClientInfoOf(R"({"version":2})");
  for (const std::size_t at : {std::size_t{5}, std::size_t{40}, bytes.size() - 1}) {
    auto damaged = bytes;
    damaged[at] ^= 1;
    ServerLogin login(context_, options_);
    login.Start();
    const auto result = login.Feed(damaged);
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().code, ErrorCode::kInvalid);
  }
}

TEST_F(Login, RefusesTheZeroKey) {
  std::vector<std::uint8_t> frame(kHeaderBytes + 100, 0);
  frame[0] = 0x02;
  core::StoreBe32(frame.data() + 1, 100);
  ServerLogin login(context_, options_);
  login.Start();
  EXPECT_EQ(login.Feed(frame).error().code, ErrorCode::kInvalid);
}

TEST_F(Login, NobodyIsAdmittedUntilAdded) {
  admission_.Remove(client_.PublicAs<core::NodePublic>());
  const auto result = LogIn(R"({"version":2})");
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::kPermission);
  EXPECT_TRUE(login_->TakeOutput().empty());  // no ServerInfo
}

TEST_F(Login, MeshKeyNeedsTlsAndAnExactMatch) {
  const std::string with_key = std::string(R"({"meshKey":")") + kMeshKey + R"(","version":2})";
  ASSERT_TRUE(LogIn(with_key).has_value());
  EXPECT_FALSE(login_->TakeClient().can_mesh) << "the server has no mesh key";

  context_.mesh_key = ParseMeshKey(kMeshKey);
  ASSERT_TRUE(LogIn(with_key).has_value());
  EXPECT_TRUE(login_->TakeClient().can_mesh);

  options_.over_tls = false;
  ASSERT_TRUE(LogIn(with_key).has_value());
  EXPECT_FALSE(login_->TakeClient().can_mesh);
  options_.over_tls = true;

  std::string other = with_key;
  other[12] = other[12] == 'a' ? 'b' : 'a';
  ASSERT_TRUE(LogIn(other).has_value());
  EXPECT_FALSE(login_->TakeClient().can_mesh);

  context_.mesh_key = MeshKey{};
  ASSERT_TRUE(LogIn(R"({"meshKey":")" + std::string(64, '0') + R"("})").has_value());
  EXPECT_FALSE(login_->TakeClient().can_mesh) << "the zero key grants nothing";
}

TEST_F(Login, MeshPeersNeedNoAdmission) {
  admission_.Remove(client_.PublicAs<core::NodePublic>());
  context_.mesh_key = ParseMeshKey(kMeshKey);
  ASSERT_TRUE(LogIn(std::string(R"({"meshKey":")") + kMeshKey + R"("})").has_value());
  EXPECT_TRUE(login_->TakeClient().can_mesh);
}

// --- the JSON ---

TEST(ClientInfoJson, AcceptsWhatGoAccepts) {
  for (const char* json : {"{}", " { } ", "null", R"({"Version":2})", R"({"VERSION":-1})",
                           R"({"unknown":[1,{"a":[]},"x\u00e9\n",-1.5e+3,null,true]})",
                           R"({"version":null,"CanAckPings":null})", R"({"AppName":"derpprobe"})",
                           R"({"version":1,"version":2})"}) {
    EXPECT_TRUE(ParseClientInfo(json).has_value()) << json;
  }
  const auto info = ParseClientInfo(R"({"ISPROBER":true,"canackpings":true,"version":2,)"
                                    R"("AppName":"a\u0062c"})")
                        .value();
  EXPECT_TRUE(info.is_prober);
  EXPECT_TRUE(info.can_ack_pings);
  EXPECT_EQ(info.version, 2);
  EXPECT_EQ(info.app_name, "abc");
  const auto mesh = ParseClientInfo(std::string(R"({"MeshKey":")") + kMeshKey + "\"}").value();
  EXPECT_EQ(mesh.mesh_key, ParseMeshKey(kMeshKey));
  std::string upper = kMeshKey;
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  EXPECT_EQ(ParseClientInfo("{\"meshKey\":\"" + upper + "\"}").value().mesh_key, mesh.mesh_key);
}

TEST(ClientInfoJson, RefusesTheRest) {
  for (const char* json : {"",
                           "[]",
                           "{",
                           "}",
                           "{}x",
                           R"({"version":"2"})",
                           R"({"version":2.0})",
                           R"({"version":99999999999999999999})",
                           R"({"meshKey":""})",
                           R"({"meshKey":null})",
                           R"({"meshKey":"zz"})",
                           R"({"CanAckPings":1})",
                           R"({"a":01})",
                           R"({"a":1,})",
                           R"({"a":"\x"})",
                           R"({"a":"\ud8"})",
                           "{\"a\":\"\x01\"}",
                           R"({a:1})",
                           R"({"a":nul})",
                           R"({"a" 1})",
                           R"({"a":1 "b":2})",
                           "truex",
                           "nullx"}) {
    EXPECT_FALSE(ParseClientInfo(json).has_value()) << json;
  }
  EXPECT_FALSE(ParseClientInfo("{\"a\":" + std::string(1000, '[') + std::string(1000, ']') + "}")
                   .has_value());
  EXPECT_FALSE(ParseClientInfo(std::string(R"({"meshKey":")") + kMeshKey + "0\"}").has_value());
}

// --- admission ---

TEST(AdmissionSet, FailsClosedAndFollowsReplace) {
  AdmissionSet set;
  core::NodePublic a;
  core::NodePublic b;
  a.raw.fill(1);
  b.raw.fill(2);
  EXPECT_FALSE(set.Allows(a, {}));
  EXPECT_FALSE(set.Allows({}, {}));
  set.Add({});
  EXPECT_FALSE(set.Allows({}, {}));
  set.Add(a);
  EXPECT_TRUE(set.Allows(a, {}));
  const core::NodePublic both[] = {a, b};
  set.Replace(both);
  EXPECT_TRUE(set.Allows(a, {}) && set.Allows(b, {}));
  EXPECT_EQ(set.size(), 2u);
  set.Remove(a);
  EXPECT_FALSE(set.Allows(a, {}));
  set.Replace({});
  EXPECT_FALSE(set.Allows(b, {}));
  EXPECT_EQ(set.size(), 0u);
}

TEST(OpenAdmission, LetsAnybodyInWhoHasAKey) {
  core::NodePublic key;
  key.raw.fill(7);
  EXPECT_TRUE(OpenAdmission().Allows(key, {}));
  EXPECT_FALSE(OpenAdmission().Allows({}, {}));
}

}  // namespace
}  // namespace ringscale::relay
