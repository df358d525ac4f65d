// What the tests of the front door share: a front on a loop without sockets, and
// clients of it.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/base64.h"
#include "core/crypto/box.h"
#include "core/tls/certificates.h"
#include "core/tls/client.h"
#include "relay/app/admission_set.h"
#include "tests/support/fake_loop.h"
#include "tests/support/noise_client.h"
#include "tests/support/temp_folder.h"
#include "tools/serverd/front/front.h"

namespace ringscale::serverd {

// A certificate of a generated CA, made once per process.
inline std::shared_ptr<const core::tls::ServerContext> TestCertificate() {
  static const auto context = [] {
    const tests::TempFolder directory;
    auto made =
        core::tls::LoadOrGenerateCertificate(directory.path(), {"localhost"}, core::WallNow());
    EXPECT_TRUE(made);
    return made->loaded.context;
  }();
  return context;
}

// The client's end of a TLS connection in memory.
class TlsClient {
 public:
  explicit TlsClient(bool tls12 = false) {
    core::tls::ClientSettings settings;
    settings.verify = core::tls::ClientSettings::Verify::kNone;
    settings.tls12_only = tls12;
    auto context = core::tls::MakeClientContext(settings);
    EXPECT_TRUE(context);
    auto started = core::tls::StartClientHandshake(*context, "localhost");
    EXPECT_TRUE(started);
    handshake_ = std::move(*started);
    Step({});
  }
  // Ciphertext of the server; the plaintext is appended to `received`.
  void Feed(std::string bytes) {
    if (handshake_ != nullptr) {
      Step(bytes);
      bytes.clear();
    }
    if (!transport_) return;
    const auto result =
        transport_->Receive(pool_, {reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()},
                            [this](core::MutableBytes plain) { received += core::AsText(plain); });
    closed |= !result;
  }
  void Write(std::string_view plaintext) {
    if (!transport_) {
      early_ += plaintext;
      return;
    }
    const std::array<std::string_view, 1> pieces{plaintext};
    EXPECT_TRUE(transport_->Seal(pool_, pieces, output_));
  }
  std::string TakeOutput() { return std::exchange(output_, {}); }
  [[nodiscard]] bool done() const { return transport_.has_value(); }

  std::string received;
  bool closed = false;

 private:
  void Step(const std::string& bytes) {
    const auto status = handshake_->Feed(core::AsBytes(bytes));
    output_ += handshake_->TakeOutput();
    if (!status) {
      closed = true;
      return;
    }
    if (*status != core::tls::ClientHandshake::Status::kDone) return;
    auto transport = handshake_->Finish();
    EXPECT_TRUE(transport);
    transport_.emplace(std::move(*transport));
    handshake_.reset();
    if (!early_.empty()) Write(std::exchange(early_, {}));
  }

  core::tls::AeadPool pool_{core::tls::AeadPool::Engine::kOpenSsl};
  std::unique_ptr<core::tls::ClientHandshake> handshake_;
  std::optional<core::tls::Transport> transport_;
  std::string output_;
  std::string early_;
};

inline std::string ClientInfoFrame(const core::PrivateKey& client,
                                   const std::array<std::uint8_t, 32>& server_public,
                                   std::string_view json = "{\"version\":2}") {
  const auto box = core::SealBox(client, server_public, json);
  std::string frame(5, '\0');
  frame[0] = 0x02;
  core::StoreBe32(reinterpret_cast<std::uint8_t*>(frame.data()) + 1,
                  static_cast<std::uint32_t>(32 + box->size()));
  frame += core::AsText(client.PublicRaw());
  return frame + *box;
}

inline std::string NoiseUpgrade(const control::noise::Initiator& initiator,
                                std::string_view extra = "") {
  return "POST /ts2021 HTTP/1.1\r\nHost: control.example:8080\r\n"
         "Upgrade: tailscale-control-protocol\r\nConnection: upgrade\r\n"
         "X-Tailscale-Handshake: " +
         core::Base64Encode(initiator.initiation()) + "\r\nContent-Length: 0\r\n" +
         std::string(extra) + "\r\n";
}

inline std::string Get(std::string_view path, std::string_view extra = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: h.example\r\n" + std::string(extra) +
         "\r\n";
}

class FrontTest : public ::testing::Test {
 protected:
  using StreamId = core::engine::StreamId;

  FrontTest() {
    relay_public = relay_key.PublicRaw();
    options.noise_key = &noise_key;
    options.relay = &login;
    handlers.handle = [this](FrontRequest request, HttpResponder responder) {
      requests.push_back(std::move(request));
      if (hold_answers) {
        held.push_back(std::move(responder));
      } else {
        responder.Send(core::http::TextResponse(200, "page " + requests.back().http.path));
      }
    };
    handlers.to_control = [this](control::NoiseClient client) {
      if (refuse_clients) return false;
      noise_clients.push_back(std::move(client));
      return true;
    };
    handlers.to_relay = [this](relay::LoggedInClient client) {
      if (refuse_clients) return false;
      relay_clients.push_back(std::move(client));
      return true;
    };
  }

  Front& front() {
    if (!front_) {
      shared = std::make_unique<FrontShared>(limits);
      front_ = std::make_unique<Front>(loop, *shared, options, handlers);
    }
    return *front_;
  }
  StreamId Open(std::string_view ip = "192.0.2.1") {
    front().Accept(core::Fd(), {*core::IpAddress::Parse(ip), 1000});
    return loop.last_stream();
  }
  std::string Ask(StreamId stream, std::string_view bytes) {
    loop.Arrive(stream, bytes);
    loop.Turn();
    return loop.TakeSent(stream);
  }
  // Lets a TLS client and the front talk until both are silent.
  void Talk(StreamId stream, TlsClient& client) {
    for (int round = 0; round < 20; ++round) {
      const std::string up = client.TakeOutput();
      loop.Arrive(stream, up);
      loop.Turn();
      const std::string down = loop.TakeSent(stream);
      if (!down.empty()) client.Feed(down);
      if (up.empty() && down.empty()) return;
    }
  }

  core::PrivateKey noise_key = core::PrivateKey::Generate();
  core::PrivateKey relay_key = core::PrivateKey::Generate();
  std::array<std::uint8_t, 32> relay_public{};
  relay::AdmissionSet admission;
  relay::LoginContext login{relay_key, relay_key.PublicRaw(), admission, std::nullopt};
  FrontLimits limits;
  FrontOptions options;
  FrontHandlers handlers;
  testing::FakeLoop loop;
  std::unique_ptr<FrontShared> shared;
  std::vector<FrontRequest> requests;
  std::vector<HttpResponder> held;
  std::vector<control::NoiseClient> noise_clients;
  std::vector<relay::LoggedInClient> relay_clients;
  bool hold_answers = false;
  bool refuse_clients = false;

 private:
  std::unique_ptr<Front> front_;
};

}  // namespace ringscale::serverd
