#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>

#include "control/noise/early_payload.h"
#include "control/noise/session.h"
#include "control/noise/symmetric_state.h"
#include "core/base/base64.h"
#include "core/base/hex.h"
#include "core/crypto/x25519.h"

namespace ringscale::control::noise {
namespace {

using Key = std::array<std::uint8_t, 32>;

Key KeyFrom(std::string_view hex) {
  Key key{};
  EXPECT_TRUE(core::HexDecodeTo(hex, key));
  return key;
}
core::PrivateKey PrivateFrom(std::string_view hex) {
  return core::PrivateKey::FromRaw(KeyFrom(hex));
}
std::string FromHex(std::string_view hex) {
  const auto bytes = core::HexDecode(hex);
  EXPECT_TRUE(bytes);
  return std::string(core::AsText(*bytes));
}
std::string Hex(std::string_view text) {
  return core::HexEncode(core::AsBytes(text));
}

std::string SealText(Session& session, std::string_view text) {
  std::string out;
  const std::array<std::string_view, 1> pieces{text};
  EXPECT_TRUE(session.Seal(pieces, out));
  return out;
}

// Computed for capability version 145 with an independent implementation.
constexpr std::string_view kClientStatic =
    "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";
constexpr std::string_view kClientPublic =
    "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c";
constexpr std::string_view kClientEphemeral =
    "2122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40";
constexpr std::string_view kServerStatic =
    "4142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f60";
constexpr std::string_view kServerPublic =
    "64b101b1d0be5a8704bd078f9895001fc03e8e9f9522f188dd128d9846d48466";
constexpr std::string_view kServerEphemeral =
    "6162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f80";
constexpr std::string_view kInitiation =
    "00910100605869aff450549732cbaaed5e5df9b30a6da31cb0e5742bad5ad4a1a768f1a67b822e8514e6389169bdfd"
    "10afecae5bded9cda3f0157ac1d03cd3620b3bb73a8622af140d231efc6396f1c80598dc7289c50e831342d4c8605e"
    "6d5bccc41fba65";
constexpr std::string_view kInitiationBase64 =
    "AJEBAGBYaa/0UFSXMsuq7V5d+bMKbaMcsOV0K61a1KGnaPGme4IuhRTmOJFpvf0Qr+yuW97ZzaPwFXrB0DzTYgs7tzqGIq"
    "8UDSMe/GOW8cgFmNxyicUOgxNC1MhgXm1bzMQfumU=";
constexpr std::string_view kResponse =
    "020030244fe3b963e899dd295baffce248d3530f3a9a7479ba063002680ebfe7adad497cc147989eb24756280c2216"
    "d1f9d8e5";
constexpr std::string_view kClientToServer =
    "9d8a0c9bfad81a7ac34484c53c3b9e730edd3c0249faac7826a8cf9f4b9713b1";
constexpr std::string_view kServerToClient =
    "5c591b6bc88039fb598c45334d246af59501be8061e51f3950afafc7d1fb28cb";

Session ServerSession() {
  return {KeyFrom(kClientToServer), KeyFrom(kServerToClient)};
}
Session ClientSession() {
  return {KeyFrom(kServerToClient), KeyFrom(kClientToServer)};
}

TEST(NoiseHandshake, MatchesTheVector) {
  const auto decoded = core::Base64Decode(kInitiationBase64);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(core::HexEncode(*decoded), kInitiation);

  auto accepted = Respond(PrivateFrom(kServerStatic), *decoded, PrivateFrom(kServerEphemeral));
  ASSERT_TRUE(accepted) << accepted.error().message;
  EXPECT_EQ(accepted->protocol_version, 145);
  EXPECT_EQ(accepted->machine_key.text(), "mkey:" + std::string(kClientPublic));
  EXPECT_EQ(core::HexEncode(accepted->response), kResponse);
  // The transport keys show in what they seal.
  EXPECT_EQ(Hex(SealText(accepted->session, "hello")),
            "040015f151e3d25a25eba7acb91362c6038c29237a5ab23e");
}

TEST(NoiseHandshake, InitiatorMatchesTheVector) {
  Initiator initiator(PrivateFrom(kClientStatic), core::MachinePublic{KeyFrom(kServerPublic)}, 145,
                      PrivateFrom(kClientEphemeral));
  EXPECT_EQ(core::HexEncode(initiator.initiation()), kInitiation);
  auto session = initiator.Finish(*core::HexDecode(kResponse));
  ASSERT_TRUE(session);
  EXPECT_EQ(
      Hex(SealText(*session, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
      "0400283f131eabdda88e1f08a0231aacebb3b3f3a0a497e0f43ef57b6ab292671c69f57799e1479733b23c");
}

TEST(NoiseHandshake, FreshKeysAgree) {
  const auto server = core::PrivateKey::Generate();
  auto machine = core::PrivateKey::Generate();
  const auto machine_public = machine.PublicAs<core::MachinePublic>();
  Initiator initiator(std::move(machine), server.PublicAs<core::MachinePublic>(), 113);
  auto accepted = Respond(server, initiator.initiation());
  ASSERT_TRUE(accepted);
  EXPECT_EQ(accepted->machine_key, machine_public);
  auto client = initiator.Finish(accepted->response);
  ASSERT_TRUE(client);
  std::string plain;
  EXPECT_TRUE(accepted->session.Receive(core::AsBytes(SealText(*client, "up")), plain));
  EXPECT_TRUE(client->Receive(core::AsBytes(SealText(accepted->session, "down")), plain));
  EXPECT_EQ(plain, "updown");
}

TEST(NoiseHandshake, RefusesEveryChangedByte) {
  const auto server = PrivateFrom(kServerStatic);
  auto initiation = *core::HexDecode(kInitiation);
  for (std::size_t i = 0; i < initiation.size(); ++i) {
    initiation[i] ^= 1;
    EXPECT_FALSE(Respond(server, initiation)) << i;
    initiation[i] ^= 1;
  }
  EXPECT_TRUE(Respond(server, initiation));
}

TEST(NoiseHandshake, RefusesTheWrongShape) {
  const auto server = PrivateFrom(kServerStatic);
  const auto good = *core::HexDecode(kInitiation);
  const auto message = [&](std::vector<std::uint8_t> bytes) {
    const auto result = Respond(server, bytes);
    return result ? std::string() : result.error().message;
  };
  EXPECT_EQ(message({}), "wrong handshake initiation size");
  auto longer = good;
  longer.push_back(0);
  EXPECT_EQ(message(longer), "wrong handshake initiation size");
  auto type = good;
  type[2] = 2;
  EXPECT_EQ(message(type), "unexpected handshake message type");
  auto length = good;
  length[4] = 95;
  EXPECT_EQ(message(length), "wrong handshake initiation length");
}

TEST(NoiseHandshake, RefusesAnotherServersKeyAndLowOrderPoints) {
  auto initiation = *core::HexDecode(kInitiation);
  const auto other = Respond(core::PrivateKey::Generate(), initiation);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, core::ErrorCode::kCorrupt);
  std::fill_n(initiation.begin() + 5, 32, std::uint8_t{0});
  EXPECT_FALSE(Respond(PrivateFrom(kServerStatic), initiation));
  // A client that trusts a key of low order completes nothing.
  Initiator initiator(core::PrivateKey::Generate(), core::MachinePublic{}, 145);
  EXPECT_FALSE(Respond(PrivateFrom(kServerStatic), initiator.initiation()));
}

TEST(NoiseHandshake, InitiatorRefusesABadResponse) {
  Initiator initiator(PrivateFrom(kClientStatic), core::MachinePublic{KeyFrom(kServerPublic)}, 145,
                      PrivateFrom(kClientEphemeral));
  auto response = *core::HexDecode(kResponse);
  for (std::size_t i = 0; i < response.size(); ++i) {
    response[i] ^= 0x40;
    // The top bit of an X25519 key is ignored, but hashed: still refused.
    EXPECT_FALSE(initiator.Finish(response)) << i;
    response[i] ^= 0x40;
  }
  EXPECT_FALSE(initiator.Finish({}));
}

// The published vector of the protocol, with payloads (Noise test vectors,
// Noise_IK_25519_ChaChaPoly_BLAKE2s): the responder's steps, one by one.
TEST(NoiseSymmetricState, MatchesThePublishedVector) {
  const std::string message1 = FromHex(
      "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79440b03ddc7aac5123d06a1b23b7167"
      "0e"
      "32e76c28239a7ca4ac8f784de7e44c1adbfc6e83fef7352a58d9d56157400c0a737b1d171ce368229c7b752ac25b"
      "8f"
      "af4eca690f6d896f543be02c996ab2b86b76");
  const std::string message2 =
      "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843d9b5a8927f0ac9655ef76833bc7e"
      "55"
      "61f42e691ac8404efd6fbd6308b6a27c";
  const auto responder =
      PrivateFrom("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893");
  const auto ephemeral =
      PrivateFrom("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b");
  EXPECT_EQ(core::HexEncode(responder.PublicRaw()),
            "31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62");

  SymmetricState state("Noise_IK_25519_ChaChaPoly_BLAKE2s", FromHex("4a6f686e2047616c74"));
  state.MixHash(responder.PublicRaw());
  const core::Bytes bytes = core::AsBytes(message1);
  Key client_ephemeral{};
  std::ranges::copy(bytes.first(32), client_ephemeral.begin());
  state.MixHash(client_ephemeral);
  state.MixKey(*core::X25519(responder, client_ephemeral));
  Key client_static{};
  ASSERT_TRUE(state.DecryptAndHash(bytes.subspan(32, 48), client_static));
  EXPECT_EQ(
      client_static,
      PrivateFrom("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1").PublicRaw());
  state.MixKey(*core::X25519(responder, client_static));
  std::array<std::uint8_t, 16> payload{};
  ASSERT_TRUE(state.DecryptAndHash(bytes.subspan(80), payload));
  EXPECT_EQ(core::HexEncode(payload), "4c756477696720766f6e204d69736573");

  const Key ephemeral_public = ephemeral.PublicRaw();
  state.MixHash(ephemeral_public);
  state.MixKey(*core::X25519(ephemeral, client_ephemeral));
  state.MixKey(*core::X25519(ephemeral, client_static));
  std::array<std::uint8_t, 31> sealed{};
  state.EncryptAndHash(core::AsBytes(FromHex("4d757272617920526f746862617264")), sealed);
  EXPECT_EQ(core::HexEncode(ephemeral_public) + core::HexEncode(sealed), message2);
  EXPECT_EQ(core::HexEncode(state.hash()),
            "48f3cb8bc9319da4ba1e9933991b1c4ed4034f1f126a76d3a1fbcfd7f94248d4");

  // Counter 0 is the same in both byte orders.
  const auto keys = state.Split();
  Session server(keys.first, keys.second);
  std::string plain;
  ASSERT_TRUE(server.Receive(
      core::AsBytes(FromHex("04001b2c256ed08fcd08c2980f954ee4beaccb61c9581340f5dd2fd1cf3b")),
      plain));
  EXPECT_EQ(Hex(plain), "462e20412e20486179656b");
  EXPECT_EQ(Hex(SealText(server, FromHex("4361726c204d656e676572"))),
            "04001bd6033f70eee20945c7c9dba304e397ee3b284ff5e00fd9efb095d3");
}

TEST(NoiseRecords, MatchTheVectorsWithBigEndianCounters) {
  Session server = ServerSession();
  EXPECT_EQ(Hex(SealText(server, "hello")), "040015f151e3d25a25eba7acb91362c6038c29237a5ab23e");
  EXPECT_EQ(Hex(SealText(server, "hello")), "040015dd35ae70d155ecd13bbe7ead76102aad11a2366c11");
  for (int i = 2; i < 256; ++i) (void)SealText(server, "hello");
  EXPECT_EQ(Hex(SealText(server, "hello")), "04001565744c8e945ff880f10e85ee772602052902964c36");

  std::string plain;
  ASSERT_TRUE(server.Receive(
      core::AsBytes(FromHex("0400283f131eabdda88e1f08a0231aacebb3b3f3a0a497e0f43ef57b6ab292671c69f5"
                            "7799e1479733b23c")),
      plain));
  EXPECT_EQ(plain, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

TEST(NoiseRecords, EarlyPayloadMatchesTheVector) {
  const core::ChallengePublic challenge{
      KeyFrom("883186b800b41d5cf0429695da9b3cc4f328ebcd184a6e482fa578c103f06c77")};
  const std::string payload = BuildEarlyPayload(challenge);
  EXPECT_EQ(payload,
            std::string("\xff\xff\xff"
                        "TS\0\0\0\x5f",
                        9) +
                "{\"nodeKeyChallenge\":\"chalpub:883186b800b41d5cf0429695da9b3cc4f328ebcd184a6e482"
                "fa578c103f06c77\"}");
  Session server = ServerSession();
  EXPECT_EQ(
      Hex(SealText(server, payload)),
      "04007866cb70ea66541235ed6fb2a8cff33aeccba67e51fd074e667c8d6485f6a5b5de5d153152c6452b704ae"
      "662dfb91f4941bccb95688eaa296dc78f0ccb3886515ba0a000d22218ede392e68c53e1eb2288821613562ce7"
      "91000ec2be184a2b6ed4e4b0508694acda58acd7575c079f300483a202a7a8087eb6");
}

TEST(NoiseRecords, SplitLongOutputAndJoinPieces) {
  Session server = ServerSession();
  Session client = ClientSession();
  const std::string a(5000, 'a');
  const std::string b(4077, 'b');
  const std::array<std::string_view, 5> pieces{"", a, "", b, "tail"};
  std::string wire;
  ASSERT_TRUE(server.Seal(pieces, wire));
  // 9081 bytes: two full records and one of 927.
  EXPECT_EQ(wire.size(), 9081u + 3 * 19);
  EXPECT_EQ(wire.substr(0, 3), std::string("\x04\x0f\xfd", 3));
  for (const std::size_t step : {std::size_t{1}, std::size_t{4095}, wire.size()}) {
    Session receiver = ClientSession();
    std::string plain;
    for (std::size_t at = 0; at < wire.size(); at += step) {
      ASSERT_TRUE(receiver.Receive(
          core::AsBytes(wire).subspan(at, std::min(step, wire.size() - at)), plain));
    }
    EXPECT_EQ(plain, a + b + "tail");
  }
}

TEST(NoiseRecords, EmptyRecordsAreLegal) {
  Session client = ClientSession();
  // One empty record, as no Seal of ours makes it.
  std::string plain = "before";
  Session server = ServerSession();
  EXPECT_EQ(SealText(server, ""), "");
  const std::string record = SealText(server, "x");
  EXPECT_TRUE(client.Receive(core::AsBytes(record), plain));
  EXPECT_EQ(plain, "beforex");
}

TEST(NoiseRecords, RefuseWhatIsNoRecord) {
  const auto code = [](const std::string& bytes) {
    Session server = ServerSession();
    std::string plain;
    const auto result = server.Receive(core::AsBytes(bytes), plain);
    EXPECT_EQ(plain, "");
    return result ? core::ErrorCode::kInternal : result.error().code;
  };
  EXPECT_EQ(code(std::string("\x01\x00\x20", 3)), core::ErrorCode::kInvalid);  // type
  EXPECT_EQ(code(std::string("\x04\x0f\xfe", 3)), core::ErrorCode::kInvalid);  // 4097 in all
  EXPECT_EQ(code(std::string("\x04\x00\x0f", 3)), core::ErrorCode::kInvalid);  // below a tag
  EXPECT_EQ(code(std::string("\x04\x00\x10", 3) + std::string(16, 'x')), core::ErrorCode::kCorrupt);
}

TEST(NoiseRecords, RefuseReplayReorderAndDamage) {
  Session client = ClientSession();
  const std::string first = SealText(client, "one");
  const std::string second = SealText(client, "two");
  std::string plain;
  {
    Session server = ServerSession();
    EXPECT_TRUE(server.Receive(core::AsBytes(first), plain));
    EXPECT_FALSE(server.Receive(core::AsBytes(first), plain));
  }
  {
    Session server = ServerSession();
    EXPECT_FALSE(server.Receive(core::AsBytes(second), plain));
  }
  for (std::size_t i = 3; i < first.size(); ++i) {
    Session server = ServerSession();
    std::string damaged = first;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    EXPECT_FALSE(server.Receive(core::AsBytes(damaged), plain)) << i;
  }
  EXPECT_EQ(plain, "one");
}

TEST(NoiseRecords, MovesMidRecord) {
  Session client = ClientSession();
  const std::string record = SealText(client, "moved");
  Session first = ServerSession();
  std::string plain;
  EXPECT_TRUE(first.Receive(core::AsBytes(record).first(10), plain));
  Session second = std::move(first);
  EXPECT_TRUE(second.Receive(core::AsBytes(record).subspan(10), plain));
  EXPECT_EQ(plain, "moved");
}

}  // namespace
}  // namespace ringscale::control::noise
