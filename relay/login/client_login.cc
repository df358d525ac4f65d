#include "relay/login/client_login.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/crypto/box.h"
#include "relay/wire/frame_writer.h"

namespace ringscale::relay {
namespace {

// No relay's answer to the upgrade comes near.
constexpr std::size_t kLongestHead = 8192;

}  // namespace

ClientLogin::ClientLogin(ClientLoginOptions options,
                         std::shared_ptr<const core::tls::ClientContext> tls,
                         const core::PrivateKey& key, core::tls::AeadPool& pool)
    : options_(std::move(options)),
      key_(key),
      pool_(pool),
      tls_(tls != nullptr),
      context_(std::move(tls)) {}

core::Result<ClientLogin::Status> ClientLogin::Feed(core::MutableBytes bytes) {
  core::Result<> fed;
  if (stage_ == Stage::kStart) {
    if (tls_) {
      auto handshake = core::tls::StartClientHandshake(context_, options_.server_name);
      if (!handshake) return core::Forward(handshake);
      handshake_ = std::move(*handshake);
      context_.reset();
      stage_ = Stage::kTls;
      fed = FeedTls({});
    } else {
      fed = SendRequest();
    }
  } else if (stage_ == Stage::kTls) {
    fed = FeedTls(bytes);
  } else {
    core::Result<> inner;
    fed = transport_.Receive(pool_, bytes, [&](core::MutableBytes plaintext) {
      if (inner) inner = FeedPlaintext(plaintext);
    });
    output_ += transport_.TakeControlOutput();
    if (fed && !inner) fed = core::Forward(inner);
  }
  if (!fed) return core::Forward(fed);
  return stage_ == Stage::kDone ? Status::kDone : Status::kNeedMore;
}

core::Result<> ClientLogin::FeedTls(core::MutableBytes bytes) {
  const auto status = handshake_->Feed(bytes);
  output_ += handshake_->TakeOutput();
  if (!status) return core::Fail(status.error().code, status.error().message);
  if (*status == core::tls::ClientHandshake::Status::kNeedMore) return {};
  auto transport = handshake_->Finish();
  if (!transport) return core::Forward(transport);
  transport_ = std::move(*transport);
  handshake_.reset();
  if (transport_.kind() != core::tls::Transport::Kind::kRecords) {
    return core::Fail(core::ErrorCode::kUnsupported, "the relay does not speak TLS 1.3");
  }
  return SendRequest();
}

core::Result<> ClientLogin::SendRequest() {
  stage_ = Stage::kHead;
  return Send("GET /derp HTTP/1.1\r\nHost: " + options_.host +
              "\r\nUser-Agent: ringscale\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n");
}

core::Result<> ClientLogin::Send(std::string_view plaintext) {
  const std::string_view pieces[] = {plaintext};
  return transport_.Seal(pool_, pieces, output_);
}

core::Result<> ClientLogin::FeedPlaintext(core::Bytes bytes) {
  received_.insert(received_.end(), bytes.begin(), bytes.end());
  if (stage_ == Stage::kHead) {
    const std::string_view text = core::AsText(received_);
    const auto end = text.find("\r\n\r\n");
    if (end == std::string_view::npos) {
      if (received_.size() > kLongestHead) {
        return core::Fail(core::ErrorCode::kInvalid, "the answer to the upgrade has no end");
      }
      return {};
    }
    const std::string_view status = text.substr(0, text.find("\r\n"));
    if (!status.starts_with("HTTP/1.1 101")) {
      return core::Fail(core::ErrorCode::kInvalid,
                        "the relay answers the upgrade with '" + std::string(status) + "'");
    }
    received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(end + 4));
    stage_ = Stage::kServerKey;
  }
  while (stage_ != Stage::kDone) {
    const auto step = reader_.Next(received_);
    core::Result<> handled;
    if (step.status == ClientFrameReader::Status::kBadLength) {
      return core::Fail(core::ErrorCode::kInvalid, "a frame of impossible length");
    }
    const bool whole = step.status == ClientFrameReader::Status::kFrame;
    if (whole) handled = OnFrame(step.frame);
    received_.erase(received_.begin(),
                    received_.begin() + static_cast<std::ptrdiff_t>(step.consumed));
    if (!handled || !whole) return handled;
  }
  return {};
}

core::Result<> ClientLogin::OnFrame(const FrameView& frame) {
  const core::Bytes payload = frame.payload();
  if (stage_ == Stage::kServerInfo) {
    if (frame.type == FrameType::kServerInfo) stage_ = Stage::kDone;
    return {};
  }
  if (frame.type != FrameType::kServerKey || payload.size() < kMagicBytes + kKeyBytes ||
      std::memcmp(payload.data(), kServerKeyMagic, kMagicBytes) != 0) {
    return core::Fail(core::ErrorCode::kInvalid, "no ServerKey: not a DERP server");
  }
  std::copy_n(payload.begin() + kMagicBytes, kKeyBytes, server_key_.raw.begin());
  const auto box = core::SealBox(key_, server_key_.raw, options_.client_info);
  if (!box) return core::Fail(core::ErrorCode::kInvalid, "the relay's key is of low order");
  const auto ours = key_.PublicRaw();
  std::string info(kHeaderBytes, '\0');
  WriteHeader(reinterpret_cast<std::uint8_t*>(info.data()), FrameType::kClientInfo,
              static_cast<std::uint32_t>(ours.size() + box->size()));
  info += core::AsText(ours);
  info += *box;
  if (options_.watch) {
    std::uint8_t watch[kHeaderBytes];
    WriteHeader(watch, FrameType::kWatchConns, 0);
    info += core::AsText(watch);
  }
  stage_ = Stage::kServerInfo;
  return Send(info);
}

std::string ClientLogin::TakeOutput() {
  return std::exchange(output_, {});
}

ClientLogin::Established ClientLogin::Take() {
  Established out;
  out.plaintext = std::move(received_);
  if (tls_) out.tls = transport_.ReleaseKeys(out.ciphertext);
  return out;
}

}  // namespace ringscale::relay
