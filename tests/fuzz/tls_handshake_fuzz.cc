// The server's handshake: raw bytes, or the flights of a real client with bytes
// changed, dropped or added where the input says, in slices.
#include <openssl/ssl.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "core/tls/aead.h"
#include "core/tls/handshake.h"
#include "core/tls/openssl_util.h"
#include "core/tls/server_context.h"
#include "tests/fuzz/accepted.h"
#include "tests/fuzz/changed.h"
#include "tests/fuzz/require.h"
#include "tests/fuzz/server_identity.h"

namespace {

using ringscale::fuzz::Require;

using ringscale::core::AsBytes;
using ringscale::core::Bytes;
using ringscale::core::MutableBytes;
using namespace ringscale::core::tls;  // NOLINT: a fuzzer of this room

std::shared_ptr<const ServerContext> Context() {
  static const std::shared_ptr<const ServerContext> context = [] {
    const ringscale::fuzz::ServerIdentity& identity = ringscale::fuzz::Identity();
    return *MakeServerContext(
        {.chain = identity.chain, .key = identity.key, .chain_name = "chain", .key_name = "key"});
  }();
  return context;
}

std::string Drain(BIO* bio) {
  std::string out;
  DrainBio(bio, out);
  return out;
}

// False when the handshake is over, one way or the other.
bool Feed(Handshake& server, std::string_view flight, std::size_t slice) {
  for (std::size_t at = 0; at < flight.size(); at += slice) {
    const auto status = server.Feed(AsBytes(flight.substr(at, slice)));
    if (!status) {
      (void)server.TakeOutput();
      Require(!server.Feed({}));
      Require(!server.Finish());
      return false;
    }
    if (*status == Handshake::Status::kDone) {
      auto transport = server.Finish();
      if (!transport) return false;
      ringscale::fuzz::Accepted();
      AeadPool pool;
      std::string rest(flight.substr(std::min(flight.size(), at + slice)));
      auto result = transport->Receive(pool, {}, [](MutableBytes) {});
      if (result) {
        result = transport->Receive(
            pool, MutableBytes(reinterpret_cast<std::uint8_t*>(rest.data()), rest.size()),
            [](MutableBytes) {});
      }
      (void)transport->TakeControlOutput();
      (void)transport->SealClose(pool);
      return false;
    }
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::uint8_t setting = data[0];
  const std::size_t slice = data[1] + std::size_t{1};
  Bytes script(data + 2, size - 2);
  auto server = std::move(*StartHandshake(Context()));
  if ((setting & 1) != 0) {
    Feed(*server, ringscale::core::AsText(script), slice);
    return 0;
  }
  static const SslCtxPtr client_context(SSL_CTX_new(TLS_client_method()));
  const SslPtr client(SSL_new(client_context.get()));
  Require(AttachMemoryBios(client.get()));
  if ((setting & 2) != 0) SSL_set_max_proto_version(client.get(), TLS1_2_VERSION);
  SSL_set_connect_state(client.get());
  for (int flight = 0; flight < 3; ++flight) {
    if (SSL_do_handshake(client.get()) == 1) (void)SSL_write(client.get(), "data", 4);
    const std::string out = Drain(SSL_get_wbio(client.get()));
    if (out.empty() || !Feed(*server, ringscale::fuzz::Changed(out, script), slice)) return 0;
    Require(FillBio(SSL_get_rbio(client.get()), AsBytes(server->TakeOutput())));
  }
  return 0;
}
