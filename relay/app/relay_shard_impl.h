// Bodies of RelayShard. Included where it is instantiated for a ring, nowhere else.
#pragma once

#include "relay/app/relay_shard.h"

namespace ringscale::relay {

template <core::io::RingLike Ring>
RelayShard<Ring>::RelayShard(const ShardOptions& options, std::unique_ptr<Ring> ring,
                             ShardLinks* links, Inbox& inbox, ShardMetrics& metrics,
                             core::Instant now)
    : ring_(std::move(ring)),
      inbox_(inbox),
      core_(options, links, metrics, now),
      stun_(kStunReceive, kStunSend, metrics) {
  for (std::uint32_t id = 0; id < options.ring.buffer_count; ++id) {
    const auto buffer = static_cast<std::uint16_t>(id);
    core_.pool().SetReceiveBuffer(buffer, ring_->BufferData(buffer), options.ring.buffer_size);
  }
}

template <core::io::RingLike Ring>
core::Duration RelayShard<Ring>::MaxWait() const {
  core::Duration wait = core_.MaxWait(core_.now());
  // Buffers on loan come back without waking anybody.
  if (!stalled_.empty()) wait = std::min(wait, core::Millis(1));
  if (!throttled_.empty()) wait = std::min(wait, kThrottleTick);
  if (stage_ != Stage::kRunning) wait = std::min(wait, core::Millis(5));
  return wait;
}

template <core::io::RingLike Ring>
bool RelayShard<Ring>::Handle(std::size_t count, core::Instant now) {
  core_.BeginTurn(now, count);
  TakeCommands();
  for (std::size_t i = 0; i < count; ++i) OnCompletion(completions_[i]);
  gathering_.OnTurn(now, std::exchange(receives_, 0));
  StartSends();
  EndClosing();
  ReturnBuffers();
  ResumeStalled();
  ResumeThrottled();
  if (drained_ != nullptr && core_.drained()) {
    drained_->count_down();
    drained_.reset();
  }
  core_.EndTurn();
  return !Stopped(now);
}

// --- commands ---

template <core::io::RingLike Ring>
void RelayShard<Ring>::TakeCommands() {
  inbox_.Take(commands_);
  for (ShardCommand& command : commands_) {
    if (auto* add = std::get_if<AddClientCommand>(&command)) {
      OnAddClient(*add);
    } else if (const auto* close = std::get_if<CloseKeyCommand>(&command)) {
      core_.CloseKey(close->key, CloseReason::kRevoked);
    } else if (auto* udp = std::get_if<AddUdpSocketCommand>(&command)) {
      stun_.Add(*ring_, std::move(udp->fd));
    } else if (auto* drain = std::get_if<DrainCommand>(&command)) {
      core_.BeginDrain(drain->over);
      drained_ = std::move(drain->done);
    } else if (const auto* rate = std::get_if<RateCommand>(&command)) {
      core_.SetRateLimit(rate->limit);
    } else if (const auto* report = std::get_if<ReportCommand>(&command)) {
      report->sink->OnShardReport(core_.Report(report->talkers));
    } else if (const auto* stop = std::get_if<StopCommand>(&command)) {
      if (stage_ == Stage::kRunning) {
        stage_ = Stage::kDraining;
        core_.StopReading();
      }
      deadline_ = core_.now() + stop->drain;
    }
  }
  commands_.clear();
}

template <core::io::RingLike Ring>
void RelayShard<Ring>::OnAddClient(AddClientCommand& command) {
  LoggedInClient& client = command.client;
  const std::uint32_t slot = core_.Open(client, command.epoch, std::move(command.kernel));
  const int fd = client.fd.Release();
  if (slot == ShardCore::kNone) return CloseFd(fd);
  Connection& connection = core_.at(slot);
  // Bytes that came along may have closed it already.
  if (connection.state == ConnectionState::kOpen) Receive(connection);
}

// --- completions ---

template <core::io::RingLike Ring>
void RelayShard<Ring>::OnCompletion(const core::io::Completion& completion) {
  if (completion.wake) return;
  switch (completion.token.op()) {
    case kReceive:
      return OnReceiveCompletion(completion);
    case kSend:
      return OnSendCompletion(completion);
    case kStunReceive:
      if (completion.has_buffer) {
        Block* block = core_.pool().TakeReceiveBuffer(completion.buffer_id);
        stun_.OnDatagram(*ring_, completion.token.slot(), block->data,
                         static_cast<std::size_t>(completion.result));
        core_.pool().Release(block);
      }
      if (!completion.more) stun_.OnReceiveEnded(completion.token.slot(), completion.result);
      return;
    case kStunSend:
      return stun_.OnSent(completion.token.slot(), completion.result);
    default:
      core_.metrics().stale_completions.Add();
  }
}

template <core::io::RingLike Ring>
void RelayShard<Ring>::OnReceiveCompletion(const core::io::Completion& completion) {
  Connection* connection = core_.Get(completion.token.slot(), completion.token.generation());
  if (completion.has_buffer) {
    Block* block = core_.pool().TakeReceiveBuffer(completion.buffer_id);
    if (connection == nullptr) {
      core_.pool().Release(block);
    } else {
      ++receives_;
      core_.OnReceived(*connection, block, static_cast<std::size_t>(completion.result));
    }
  }
  if (connection == nullptr) return core_.metrics().stale_completions.Add();
  if (completion.more) {
    // Armed before there was a rate. A send in flight would be ended, too.
    if (connection->throttled && connection->batch == nullptr) ring_->CancelFd(connection->fd);
    return;
  }
  connection->receiving = false;
  if (connection->state == ConnectionState::kClosing) return FinishIfIdle(*connection);
  if (completion.result == -ENOBUFS) {
    core_.metrics().receive_stalls.Add();
    stalled_.push_back({connection->slot, connection->generation});
  } else if (completion.result > 0 || completion.result == -ECANCELED) {
    Receive(*connection);
  } else if (completion.result < 0 && connection->kernel != nullptr) {
    if (core_.OnKernelReceiveError(*connection, -completion.result)) Receive(*connection);
  } else {
    core_.OnReceiveEnded(*connection, -completion.result);
  }
}

template <core::io::RingLike Ring>
void RelayShard<Ring>::OnSendCompletion(const core::io::Completion& completion) {
  Connection* connection = core_.Get(completion.token.slot(), completion.token.generation());
  if (connection == nullptr) return core_.metrics().stale_completions.Add();
  if (connection->kernel != nullptr && core_.ContinueSend(*connection, completion.result)) {
    return Send(*connection, *connection->batch);
  }
  core_.OnSent(*connection, completion.result);
  if (connection->state == ConnectionState::kClosing) FinishIfIdle(*connection);
}

template <core::io::RingLike Ring>
void RelayShard<Ring>::Receive(Connection& connection) {
  if (connection.throttled && !core_.EndThrottle(connection)) {
    throttled_.push_back({connection.slot, connection.generation});
    return;
  }
  connection.receiving = true;
  const core::io::Token token(kReceive, connection.slot, connection.generation);
  // Under a rate each receive asks again whether it may.
  if (core_.limits_rate() && !connection.can_mesh) {
    ring_->ReceiveOnce(connection.fd, token);
  } else {
    ring_->ReceiveMultishot(connection.fd, token);
  }
}

template <core::io::RingLike Ring>
void RelayShard<Ring>::ResumeThrottled() {
  std::swap(throttled_, taken_throttled_);
  for (const Waiting& waiting : taken_throttled_) {
    Connection* connection = core_.Get(waiting.slot, waiting.generation);
    if (connection != nullptr && !connection->ending && !connection->receiving) {
      Receive(*connection);
    }
  }
  taken_throttled_.clear();
}

// --- the end of a turn ---

template <core::io::RingLike Ring>
void RelayShard<Ring>::StartSends() {
  for (const std::uint32_t slot : core_.TakeDirty()) {
    Connection& connection = core_.at(slot);
    if (const SendBatch* batch = core_.StartSend(connection)) Send(connection, *batch);
  }
}

template <core::io::RingLike Ring>
void RelayShard<Ring>::Send(Connection& connection, const SendBatch& batch) {
  const core::io::Token token(kSend, connection.slot, connection.generation);
  if (connection.kernel != nullptr) {
    // Without the flag that makes the kernel finish short sends: its TLS refuses it.
    ring_->SendMessage(connection.fd, connection.kernel->Message(batch), token);
  } else {
    ring_->Send(connection.fd, batch.pieces(), batch.count(), token);
  }
}

template <core::io::RingLike Ring>
void RelayShard<Ring>::EndClosing() {
  for (const std::uint32_t slot : core_.TakeClosing()) {
    Connection& connection = core_.at(slot);
    ++closing_;
    connection.ending = true;
    if (connection.receiving || connection.batch != nullptr) ring_->CancelFd(connection.fd);
    FinishIfIdle(connection);
  }
}

// The descriptor is closed only when the ring is done with it: its number would
// else belong to somebody new while operations on it are still under way.
template <core::io::RingLike Ring>
void RelayShard<Ring>::FinishIfIdle(Connection& connection) {
  if (!connection.ending || connection.receiving || connection.batch != nullptr) return;
  --closing_;
  CloseFd(connection.fd);
  core_.Release(connection);
}

template <core::io::RingLike Ring>
void RelayShard<Ring>::ReturnBuffers() {
  BlockPool& pool = core_.pool();
  for (const std::uint16_t id : pool.free_buffers()) ring_->ReturnBuffer(id);
  pool.ClearFreeBuffers();
  core_.metrics().receive_buffers_free.Set(pool.receive_free());
}

template <core::io::RingLike Ring>
void RelayShard<Ring>::ResumeStalled() {
  if (core_.pool().receive_free() == 0) return;
  for (const Waiting& stalled : stalled_) {
    Connection* connection = core_.Get(stalled.slot, stalled.generation);
    if (connection != nullptr && !connection->ending && !connection->receiving) {
      Receive(*connection);
    }
  }
  stalled_.clear();
  stun_.Resume(*ring_);
}

// --- the end ---

template <core::io::RingLike Ring>
bool RelayShard<Ring>::Stopped(core::Instant now) {
  switch (stage_) {
    case Stage::kRunning:
      return false;
    case Stage::kDraining:
      if (!core_.idle() && now < deadline_) return false;
      core_.CloseAll();
      stage_ = Stage::kFarewell;
      deadline_ = now + kFarewellTime;
      return false;
    case Stage::kFarewell:
      return (core_.open_connections() == 0 && closing_ == 0 && core_.idle()) || now >= deadline_;
  }
  return true;
}

template <core::io::RingLike Ring>
void RelayShard<Ring>::Shutdown() {
  if (std::exchange(shut_down_, true)) return;
  std::vector<int> open;
  core_.Shutdown(open);
  if constexpr (requires(Ring& r) { r.Close(0); }) {
    for (const int fd : open) {
      ring_->CancelFd(fd);
      ring_->Close(fd);
    }
  } else {
    ring_.reset();  // the kernel lets go of all memory
    for (const int fd : open) ::close(fd);
  }
}

}  // namespace ringscale::relay
