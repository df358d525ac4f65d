// The TLS record reader with known keys. The input is a list of steps of a client:
// any inner plaintext (sealed rightly, so that everything behind the tag is
// reached), raw bytes, KeyUpdates; the server answers now and then.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/tls/aead.h"
#include "core/tls/key_schedule.h"
#include "core/tls/records.h"
#include "core/tls/transport.h"
#include "tests/fuzz/accepted.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"

namespace {

using ringscale::core::AsText;
using ringscale::core::Bytes;
using ringscale::core::MutableBytes;
using ringscale::core::StoreBe16;
using ringscale::fuzz::Input;
using ringscale::fuzz::Require;
using namespace ringscale::core::tls;  // NOLINT: a fuzzer of this room

struct Ends {
  RecordKeys client;
  std::unique_ptr<RecordKeys> server = std::make_unique<RecordKeys>();
};

void Install(Ends& ends, Suite suite, bool as_client) {
  const std::vector<std::uint8_t> up(SecretSize(suite), 1);
  const std::vector<std::uint8_t> down(SecretSize(suite), 2);
  ends.client.suite = ends.server->suite = suite;
  ends.server->client = as_client;
  Require(InstallTrafficSecret(suite, up, ends.client.send));
  Require(InstallTrafficSecret(suite, up, ends.server->receive));
  Require(InstallTrafficSecret(suite, down, ends.server->send));
  Require(InstallTrafficSecret(suite, down, ends.client.receive));
}

// A rightly sealed record around any inner plaintext.
void Craft(RecordKeys& keys, AeadPool& pool, Bytes inner, std::size_t padding,
           std::vector<std::uint8_t>& wire) {
  const std::size_t size = inner.size() + padding;
  std::vector<std::uint8_t> record(kRecordHeaderSize + size + kAeadTagSize);
  record[0] = 23;
  StoreBe16(record.data() + 1, 0x0303);
  StoreBe16(record.data() + 3, static_cast<std::uint16_t>(size + kAeadTagSize));
  std::copy(inner.begin(), inner.end(), record.begin() + kRecordHeaderSize);
  const MutableBytes memory(record);
  Require(pool.SealInPlace(keys.suite, keys.send, memory.first(kRecordHeaderSize),
                           memory.subspan(kRecordHeaderSize, size),
                           record.data() + kRecordHeaderSize + size));
  ++keys.send.sequence;
  wire.insert(wire.end(), record.begin(), record.end());
}

void AddStep(Input& input, Ends& ends, AeadPool& pool, std::vector<std::uint8_t>& wire) {
  const std::uint8_t step = input.Byte();
  switch (step % 6) {
    case 0: {  // any inner plaintext, padded or not
      const std::size_t padding = input.Byte() % 64;
      Craft(ends.client, pool, input.Take(input.Byte()), padding, wire);
      break;
    }
    case 1: {  // raw bytes
      const Bytes raw = input.Take(input.Byte());
      wire.insert(wire.end(), raw.begin(), raw.end());
      break;
    }
    case 2: {  // an orderly KeyUpdate
      std::array<std::uint8_t, kSealedKeyUpdateSize> update;
      Require(SealKeyUpdate(ends.client, pool, update, step > 127) == update.size());
      wire.insert(wire.end(), update.begin(), update.end());
      break;
    }
    case 3: {  // a handshake message or a part of one
      std::vector<std::uint8_t> inner;
      const Bytes part = input.Take(input.Byte() % 16);
      inner.assign(part.begin(), part.end());
      inner.push_back(22);
      Craft(ends.client, pool, inner, 0, wire);
      break;
    }
    case 4: {  // plain data, long at times
      const std::vector<std::uint8_t> data(static_cast<std::size_t>(input.Byte()) * 70, 'd');
      const Bytes pieces[] = {data};
      std::vector<std::uint8_t> out(SealedSize(ends.client, data.size(), 4096));
      Require(SealRecords(ends.client, pool, pieces, out, 4096) == out.size());
      wire.insert(wire.end(), out.begin(), out.end());
      break;
    }
    default: {  // the key changes without a word: every tag is wrong from here on
      if (step > 250) Require(AdvanceTrafficSecret(ends.client.suite, ends.client.send));
      break;
    }
  }
}

// What the server says must reach the client unharmed, whatever came before.
void Answer(Transport& transport, Ends& ends, AeadPool& pool, std::size_t size) {
  const std::string text(size, 's');
  const std::string_view pieces[] = {std::string_view(text).substr(0, size / 3),
                                     std::string_view(text).substr(size / 3)};
  std::string wire = transport.TakeControlOutput();
  Require(transport.Seal(pool, pieces, wire).has_value());
  std::vector<std::uint8_t> memory(wire.begin(), wire.end());
  MutableBytes rest = memory;
  std::string data;
  while (!rest.empty()) {
    const RecordEvent event = RecordReader::Next(ends.client, pool, rest);
    Require(event.kind == RecordEvent::Kind::kData || event.kind == RecordEvent::Kind::kHandled);
    if (event.kind == RecordEvent::Kind::kData) data.append(AsText(event.data));
    rest = rest.subspan(event.consumed);
  }
  ends.client.key_update_pending = false;
  ends.client.key_updates_seen = 0;  // the peer here is not on trial
  ends.client.empty_records = 0;
  Require(data == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static AeadPool openssl(AeadPool::Engine::kOpenSsl);
  static AeadPool ipsec(AeadPool::Engine::kIpsecMb);
  Input input(Bytes(data, size));
  const std::uint8_t setting = input.Byte();
  AeadPool& pool = (setting & 4) != 0 ? ipsec : openssl;
  Ends ends;
  Install(ends, static_cast<Suite>(setting % 3), (setting & 8) != 0);
  ends.server->rekey_after = 5;
  if ((setting & 16) != 0) ends.server->max_plaintext = 512;
  Transport transport = Transport::Records(std::move(ends.server), {});
  const std::size_t slice = input.Byte() * 16U + 1;

  std::vector<std::uint8_t> wire;
  while (!input.empty()) {
    wire.clear();
    AddStep(input, ends, pool, wire);
    for (std::size_t at = 0; at < wire.size(); at += slice) {
      const MutableBytes part = MutableBytes(wire).subspan(at, std::min(slice, wire.size() - at));
      std::size_t delivered = 0;
      const auto result = transport.Receive(pool, part, [&](MutableBytes run) {
        Require(!run.empty() && run.size() <= kMaxPlaintext);
        ringscale::fuzz::Accepted();
        std::fill(run.begin(), run.end(), std::uint8_t{0});  // ours to write to
        delivered += run.size();
      });
      if (!result) {
        Require(transport.TakeControlOutput().size() <= kSealedAlertSize + kSealedKeyUpdateSize);
        Require(!transport.Receive(pool, part, [](MutableBytes) { std::abort(); }));
        return 0;
      }
    }
    Answer(transport, ends, pool, setting * 20U + 1);
  }
  return 0;
}
