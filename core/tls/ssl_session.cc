#include "core/tls/ssl_session.h"

#include <openssl/crypto.h>
#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "core/tls/openssl_util.h"
#include "core/tls/records.h"

namespace ringscale::core::tls {

namespace {
std::atomic<std::uint32_t> session_limit{kDefaultSslSessionLimit};
std::atomic<std::uint32_t> session_count{0};
}  // namespace

Result<std::unique_ptr<SslSession>> SslSession::Adopt(SSL* ssl) {
  SslPtr owned(ssl);
  if (session_count.fetch_add(1) >= session_limit.load()) {
    session_count.fetch_sub(1);
    return Fail(ErrorCode::kLimit, "too many TLS 1.2 connections");
  }
  return std::unique_ptr<SslSession>(new SslSession(owned.release()));
}

void SslSession::SetLimit(std::uint32_t limit) {
  session_limit.store(limit);
}
std::uint32_t SslSession::Count() {
  return session_count.load();
}

SslSession::~SslSession() {
  SSL_free(ssl_);
  session_count.fetch_sub(1);
}

bool SslSession::is_tls13() const {
  return SSL_version(ssl_) == TLS1_3_VERSION;
}

Result<> SslSession::Receive(Bytes bytes, const Sink& sink) {
  ERR_clear_error();
  if (!FillBio(SSL_get_rbio(ssl_), bytes)) return Fail(ErrorCode::kLimit, "no memory");
  std::array<std::uint8_t, kMaxPlaintext> plaintext;
  for (;;) {
    const int got = SSL_read(ssl_, plaintext.data(), static_cast<int>(plaintext.size()));
    if (got > 0) {
      sink(MutableBytes(plaintext).first(static_cast<std::size_t>(got)));
      continue;
    }
    switch (SSL_get_error(ssl_, got)) {
      case SSL_ERROR_WANT_READ:
        return {};
      case SSL_ERROR_ZERO_RETURN:
        return Fail(ErrorCode::kClosed, "closed by the peer");
      default:
        return FailOpenSsl(ErrorCode::kCorrupt, "TLS");
    }
  }
}

Result<> SslSession::Seal(std::span<const std::string_view> pieces, std::string& out) {
  ERR_clear_error();
  std::string record;
  std::size_t left = 0;
  for (std::string_view piece : pieces) left += piece.size();
  record.reserve(std::min(left, kMaxPlaintext));
  const auto flush = [&] {
    // A memory BIO takes everything, so a write is whole or has failed.
    const bool ok =
        record.empty() || SSL_write(ssl_, record.data(), static_cast<int>(record.size())) ==
                              static_cast<int>(record.size());
    record.clear();
    return ok;
  };
  for (std::string_view piece : pieces) {
    while (!piece.empty()) {
      const std::size_t taken = std::min(piece.size(), kMaxPlaintext - record.size());
      record.append(piece.substr(0, taken));
      piece.remove_prefix(taken);
      if (record.size() == kMaxPlaintext && !flush()) {
        return FailOpenSsl(ErrorCode::kCorrupt, "TLS");
      }
    }
  }
  if (!flush()) return FailOpenSsl(ErrorCode::kCorrupt, "TLS");
  DrainBio(SSL_get_wbio(ssl_), out);
  return {};
}

std::string SslSession::TakeControlOutput() {
  std::string out;
  DrainBio(SSL_get_wbio(ssl_), out);
  return out;
}

std::string SslSession::SealClose() {
  ERR_clear_error();
  (void)SSL_shutdown(ssl_);
  return TakeControlOutput();
}

}  // namespace ringscale::core::tls
