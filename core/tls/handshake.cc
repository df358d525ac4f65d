#include "core/tls/handshake.h"

#include "core/tls/handshake_core.h"
#include "core/tls/openssl_util.h"
#include "core/tls/server_context.h"

namespace ringscale::core::tls {

namespace {

class ServerHandshake final : public Handshake {
 public:
  explicit ServerHandshake(SslPtr ssl) : core_(std::move(ssl), false) {}

  [[nodiscard]] bool Start() {
    if (!core_.Start()) return false;
    SSL_set_accept_state(core_.ssl());
    return true;
  }

  Result<Status> Feed(Bytes bytes) override {
    Result<bool> done = core_.Feed(bytes);
    if (!done) return Forward(done);
    if (!*done) return Status::kNeedMore;
    if (core_.ssl() != nullptr && server_name_.empty()) {
      const char* name = SSL_get_servername(core_.ssl(), TLSEXT_NAMETYPE_host_name);
      if (name != nullptr) server_name_ = name;
    }
    return Status::kDone;
  }
  std::string TakeOutput() override { return core_.TakeOutput(); }
  Result<Transport> Finish() override { return core_.Finish(); }
  [[nodiscard]] bool is_tls13() const override { return core_.is_tls13(); }
  [[nodiscard]] std::string server_name() const override { return server_name_; }

 private:
  HandshakeCore core_;
  std::string server_name_;
};

}  // namespace

Result<std::unique_ptr<Handshake>> StartHandshake(
    const std::shared_ptr<const ServerContext>& context) {
  SSL_CTX* native = context == nullptr ? nullptr : NativeContext(*context);
  if (native == nullptr) return Fail(ErrorCode::kInternal, "TLS: not a context of this room");
  // The SSL object holds a reference to the native context: ours may go.
  auto handshake = std::make_unique<ServerHandshake>(SslPtr(SSL_new(native)));
  if (!handshake->Start()) return FailOpenSsl(ErrorCode::kLimit, "TLS handshake");
  return handshake;
}

}  // namespace ringscale::core::tls
