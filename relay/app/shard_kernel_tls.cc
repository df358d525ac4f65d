// Clients whose TLS records the kernel makes and opens: what travels beside their
// data. The data itself takes the way of plain clients.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

#include "core/tls/kernel_tls.h"
#include "core/tls/records.h"
#include "relay/app/shard_core.h"

namespace ringscale::relay {

using core::tls::RecordEvent;

bool ShardCore::OnKernelReceiveError(Connection& c, int error) {
  using core::tls::Alert;
  if (error == EIO || error == EKEYEXPIRED) {
    std::array<std::uint8_t, core::tls::kMaxPlaintext> content;
    const core::tls::ControlRecord record = core::tls::ReceiveControlRecord(c.fd, content);
    error = record.error;
    if (error == 0 && record.type == 0) {
      Close(c, CloseReason::kClientClosed);
    } else if (error == 0) {
      OnKernelRecord(c, record.type, core::MutableBytes(content).first(record.size));
    }
  }
  switch (error) {
    case 0:
      return c.state == ConnectionState::kOpen && !c.kernel->ending;
    case EBADMSG:
      CloseWithAlert(c, CloseReason::kTlsError, Alert::kBadRecordMac);
      return false;
    case EMSGSIZE:
      CloseWithAlert(c, CloseReason::kTlsError, Alert::kRecordOverflow);
      return false;
    case EINVAL:  // the version in the header of a record
      CloseWithAlert(c, CloseReason::kTlsError, Alert::kProtocolVersion);
      return false;
    default:
      Close(c, CloseReason::kIoError);
      return false;
  }
}

void ShardCore::OnKernelRecord(Connection& c, std::uint8_t type, core::MutableBytes content) {
  KernelTransport& kernel = *c.kernel;
  const std::uint64_t key = kernel.keys().receive.key_id;
  const RecordEvent event = core::tls::RecordReader::OnContent(kernel.keys(), type, content);
  if (event.kind == RecordEvent::Kind::kData) {
    FeedCopy(c, event.data, false);
  } else if (event.kind != RecordEvent::Kind::kHandled) {
    OnRecord(c, event, nullptr);
  } else if (kernel.keys().receive.key_id != key) {
    if (!kernel.ChangeReceiveKey(c.fd)) return EndKernel(c);
    metrics_.kernel_tls_key_changes.Add();
    if (kernel.keys().key_update_pending) MarkDirty(c);
  }
}

// The kernel cannot go on with another key: the client is told goodbye and comes
// back with a new handshake.
void ShardCore::EndKernel(Connection& c) {
  if (c.batch != nullptr) {
    c.kernel->ending = true;
  } else {
    CloseWithAlert(c, CloseReason::kKeyUpdate, core::tls::Alert::kCloseNotify);
  }
}

SendBatch* ShardCore::KernelControlBatch(Connection& c) {
  std::array<std::uint8_t, core::tls::kKeyUpdateMessage.size()> content{};
  std::size_t size = 0;
  if (c.state == ConnectionState::kFarewell) {
    const auto alert = core::tls::AlertMessage(c.farewell);
    size = alert.size();
    std::copy(alert.begin(), alert.end(), content.begin());
  } else {
    content = core::tls::kKeyUpdateMessage;
    size = content.size();
  }
  SendBatch* batch = SendBatch::Create(1, pool_);
  if (batch == nullptr) return nullptr;
  Block* cell = pool_.AllocateCell(size, BlockPool::Need::kEssential);
  if (cell == nullptr) {
    SendBatch::Destroy(batch, pool_);
    return nullptr;
  }
  std::copy_n(content.begin(), size, cell->data);
  batch->Add(cell->data, static_cast<std::uint32_t>(size), cell);
  c.kernel->SetRecordType(c.state == ConnectionState::kFarewell ? core::tls::kTypeAlert
                                                                : core::tls::kTypeHandshake);
  return batch;
}

bool ShardCore::ContinueSend(Connection& c, std::int64_t result) {
  if (c.batch == nullptr || result <= 0 || result >= c.batch->bytes()) return false;
  if (c.state != ConnectionState::kOpen && c.state != ConnectionState::kFarewell) return false;
  const auto sent = static_cast<std::uint32_t>(result);
  metrics_.bytes_sent.Add(sent);
  c.sent_bytes += sent;
  c.batch->Skip(sent);
  return true;
}

void ShardCore::AfterKernelSend(Connection& c) {
  KernelTransport& kernel = *c.kernel;
  if (kernel.record_type() == core::tls::kTypeHandshake) {
    // The KeyUpdate was the last record under the old key.
    kernel.SetRecordType(core::tls::kTypeData);
    if (!kernel.AdvanceSendKey(c.fd)) return Close(c, CloseReason::kTlsError);
    metrics_.kernel_tls_key_changes.Add();
  }
  if (kernel.ending) {
    return CloseWithAlert(c, CloseReason::kKeyUpdate, core::tls::Alert::kCloseNotify);
  }
  if (kernel.SendKeyUsedUp(c.fd)) {
    if (!kernel.rekeys()) return EndKernel(c);
    kernel.keys().key_update_pending = true;
  }
  if (kernel.keys().key_update_pending) MarkDirty(c);
}

}  // namespace ringscale::relay
