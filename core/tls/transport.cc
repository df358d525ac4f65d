#include "core/tls/transport.h"

#include <algorithm>
#include <utility>

#include "core/tls/aead.h"
#include "core/tls/records.h"
#include "core/tls/ssl_session.h"

namespace ringscale::core::tls {

struct Transport::State {
  std::unique_ptr<RecordKeys> keys;   // kRecords
  std::vector<std::uint8_t> partial;  // kRecords: received, not yet opened
  std::unique_ptr<SslSession> ssl;    // kSsl
  std::string control_output;
  bool closed = false;  // close_notify or a fatal error: nothing more is read

  enum class Progress : std::uint8_t { kNeedMore, kClosed };
  // Opens the complete records at the start of `in`; `used` counts their bytes.
  Result<Progress> Open(AeadPool& pool, MutableBytes in, const Sink& sink, std::size_t& used,
                        std::size_t& needed);
  Result<> Receive(AeadPool& pool, MutableBytes bytes, const Sink& sink);
  void AnswerKeyUpdate(AeadPool& pool);
};

Transport::Transport(std::unique_ptr<State> state) : state_(std::move(state)) {}
Transport::Transport(Transport&&) noexcept = default;
Transport& Transport::operator=(Transport&&) noexcept = default;
Transport::~Transport() = default;

Transport Transport::Plain() {
  return Transport(nullptr);
}

Transport Transport::Records(std::unique_ptr<RecordKeys> keys, std::vector<std::uint8_t> partial) {
  auto state = std::make_unique<State>();
  state->keys = std::move(keys);
  state->partial = std::move(partial);
  return Transport(std::move(state));
}

Transport Transport::Ssl(std::unique_ptr<SslSession> session) {
  auto state = std::make_unique<State>();
  state->ssl = std::move(session);
  return Transport(std::move(state));
}

Transport::Kind Transport::kind() const {
  if (state_ == nullptr) return Kind::kPlain;
  return state_->ssl != nullptr ? Kind::kSsl : Kind::kRecords;
}

TlsVersion Transport::tls_version() const {
  if (state_ == nullptr) return TlsVersion::kNone;
  const bool tls12 = state_->ssl != nullptr && !state_->ssl->is_tls13();
  return tls12 ? TlsVersion::kTls12 : TlsVersion::kTls13;
}

Result<Transport::State::Progress> Transport::State::Open(AeadPool& pool, MutableBytes in,
                                                          const Sink& sink, std::size_t& used,
                                                          std::size_t& needed) {
  for (;;) {
    const RecordEvent event = RecordReader::Next(*keys, pool, in.subspan(used));
    switch (event.kind) {
      case RecordEvent::Kind::kNeedMore:
        needed = event.needed;
        return Progress::kNeedMore;
      case RecordEvent::Kind::kData:
        used += event.consumed;
        sink(event.data);
        break;
      case RecordEvent::Kind::kHandled:
        used += event.consumed;
        break;
      case RecordEvent::Kind::kClosed:
        closed = true;
        return Progress::kClosed;
      case RecordEvent::Kind::kFatal:
        closed = true;
        if (!event.peer_alert) {
          std::uint8_t alert[kSealedAlertSize];
          const std::size_t size = SealAlert(*keys, pool, event.alert, alert);
          control_output.append(AsText(Bytes(alert, size)));
        }
        return Fail(ErrorCode::kCorrupt, std::string("TLS: ") + event.reason);
    }
  }
}

void Transport::State::AnswerKeyUpdate(AeadPool& pool) {
  if (!keys->key_update_pending) return;
  std::uint8_t update[kSealedKeyUpdateSize];
  const std::size_t size = SealKeyUpdate(*keys, pool, update);
  control_output.append(AsText(Bytes(update, size)));
}

Result<> Transport::State::Receive(AeadPool& pool, MutableBytes bytes, const Sink& sink) {
  const auto closed_error = [] { return Fail(ErrorCode::kClosed, "closed by the peer"); };
  // What is left from before: at hand-over several records, later part of one.
  while (!partial.empty()) {
    std::size_t used = 0;
    std::size_t needed = 0;
    Result<Progress> progress = Open(pool, partial, sink, used, needed);
    if (!progress) return Forward(progress);
    if (*progress == Progress::kClosed) return closed_error();
    partial.erase(partial.begin(), partial.begin() + static_cast<std::ptrdiff_t>(used));
    if (partial.empty()) break;
    const std::size_t missing = needed - partial.size();
    const std::size_t taken = std::min(missing, bytes.size());
    partial.insert(partial.end(), bytes.begin(),
                   bytes.begin() + static_cast<std::ptrdiff_t>(taken));
    bytes = bytes.subspan(taken);
    if (taken < missing) return {};
  }
  std::vector<std::uint8_t>().swap(partial);  // an idle connection keeps no buffer
  std::size_t used = 0;
  std::size_t needed = 0;
  Result<Progress> progress = Open(pool, bytes, sink, used, needed);
  if (!progress) return Forward(progress);
  if (*progress == Progress::kClosed) return closed_error();
  if (used < bytes.size()) {
    partial.assign(bytes.begin() + static_cast<std::ptrdiff_t>(used), bytes.end());
  }
  return {};
}

Result<> Transport::Receive(AeadPool& pool, MutableBytes bytes, const Sink& sink) {
  if (state_ == nullptr) {
    if (!bytes.empty()) sink(bytes);
    return {};
  }
  State& state = *state_;
  if (state.closed) return Fail(ErrorCode::kClosed, "closed by the peer");
  if (state.ssl != nullptr) {
    Result<> result = state.ssl->Receive(bytes, sink);
    state.closed = !result;
    return result;
  }
  Result<> result = state.Receive(pool, bytes, sink);
  if (!state.closed) state.AnswerKeyUpdate(pool);
  return result;
}

Result<> Transport::Seal(AeadPool& pool, std::span<const std::string_view> pieces,
                         std::string& out) {
  if (state_ == nullptr) {
    for (std::string_view piece : pieces) out.append(piece);
    return {};
  }
  if (state_->ssl != nullptr) return state_->ssl->Seal(pieces, out);
  if (state_->keys == nullptr) return Fail(ErrorCode::kClosed, "handed over");
  // A KeyUpdate that was sealed already must go out before what follows it.
  out.append(std::exchange(state_->control_output, {}));
  std::vector<Bytes> runs;
  runs.reserve(pieces.size());
  std::size_t total = 0;
  for (std::string_view piece : pieces) {
    runs.push_back(AsBytes(piece));
    total += piece.size();
  }
  if (total == 0) return {};
  const std::size_t before = out.size();
  const std::size_t size = SealedSize(*state_->keys, total);
  out.resize(before + size);
  const MutableBytes room(reinterpret_cast<std::uint8_t*>(out.data()) + before, size);
  if (SealRecords(*state_->keys, pool, runs, room) != size) {
    out.resize(before);
    return Fail(ErrorCode::kInternal, "TLS: sealing failed");
  }
  return {};
}

std::string Transport::TakeControlOutput() {
  if (state_ == nullptr) return {};
  if (state_->ssl != nullptr) return state_->ssl->TakeControlOutput();
  return std::exchange(state_->control_output, {});
}

std::string Transport::SealClose(AeadPool& pool) {
  if (state_ == nullptr) return {};
  if (state_->ssl != nullptr) return state_->ssl->SealClose();
  std::string out = std::exchange(state_->control_output, {});
  if (state_->keys == nullptr) return out;
  std::uint8_t alert[kSealedAlertSize];
  const std::size_t size = SealAlert(*state_->keys, pool, Alert::kCloseNotify, alert);
  out.append(AsText(Bytes(alert, size)));
  return out;
}

std::unique_ptr<RecordKeys> Transport::ReleaseKeys(std::vector<std::uint8_t>& partial) {
  if (kind() != Kind::kRecords) return nullptr;
  partial = std::move(state_->partial);
  state_->closed = true;  // not plain: nothing can be sealed by mistake
  return std::move(state_->keys);
}

}  // namespace ringscale::core::tls
