// UDP sockets of a relay shard on which STUN is answered.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/base/fd.h"
#include "core/io/datagram.h"
#include "core/io/ring.h"
#include "core/net/udp_socket.h"
#include "relay/app/shard_metrics.h"
#include "relay/stun/responder.h"

namespace ringscale::relay {

// The sockets of one shard and the replies that the kernel has not taken yet.
template <class Ring>
class StunPorts {
 public:
  // The operation numbers of the ring's tokens; the slot is the socket or reply.
  StunPorts(std::uint8_t receive_op, std::uint8_t send_op, ShardMetrics& metrics)
      : receive_op_(receive_op), send_op_(send_op), metrics_(metrics) {}

  void Add(Ring& ring, core::Fd fd) {
    auto port = std::make_unique<Port>();
    port->v6_socket = core::net::IsV6Socket(fd.get());
    port->layout.msg_namelen = sizeof(sockaddr_storage);
    if (core::net::HasPacketInfo(fd.get())) {
      port->layout.msg_controllen = core::net::kPacketInfoSpace;
    }
    port->fd = std::move(fd);
    ports_.push_back(std::move(port));
    if (replies_.empty()) {
      replies_ = std::vector<Reply>(kReplies);
      for (std::uint32_t i = kReplies; i-- > 0;) free_.push_back(i);
    }
    Receive(ring, static_cast<std::uint32_t>(ports_.size() - 1));
  }

  // A datagram of `size` bytes, as the ring lays it out, for the socket `index`.
  void OnDatagram(Ring& ring, std::uint32_t index, std::uint8_t* data, std::size_t size) {
    Port& port = *ports_[index];
    const auto view = core::io::DatagramView::Parse({data, size}, port.layout);
    if (!view || view->truncated) return metrics_.stun_not_stun.Add();
    if (free_.empty()) return metrics_.stun_dropped.Add();
    Reply& reply = replies_[free_.back()];
    const StunReply answer = AnswerStun(view->payload, view->Sender(), reply.payload);
    if (answer.disposition != StunDisposition::kSuccess) return metrics_.stun_not_stun.Add();
    metrics_.stun_success.Add();
    (view->Sender().ip.is_v4() ? metrics_.stun_v4 : metrics_.stun_v6).Add();
    std::memcpy(&reply.to, view->name.data(), view->name.size());
    reply.piece = {reply.payload.data(), answer.size};
    reply.message = {};
    reply.message.msg_name = &reply.to;
    reply.message.msg_namelen = static_cast<socklen_t>(view->name.size());
    reply.message.msg_iov = &reply.piece;
    reply.message.msg_iovlen = 1;
    if (const auto info = core::net::ReadPacketInfo(view->control)) {
      const std::size_t written = core::net::WritePacketInfo(*info, port.v6_socket, reply.control);
      if (written != 0) {
        reply.message.msg_control = reply.control.data();
        reply.message.msg_controllen = written;
      }
    }
    ring.SendMessage(port.fd.get(), &reply.message, core::io::Token(send_op_, free_.back(), index));
    free_.pop_back();
  }

  void OnSent(std::uint32_t reply, std::int32_t result) {
    if (result < 0) metrics_.stun_write_error.Add();
    free_.push_back(reply);
  }

  // The receive of a socket ended; it starts again, after ENOBUFS with the next
  // call of Resume.
  void OnReceiveEnded(std::uint32_t index, std::int32_t result) {
    if (result < 0 && result != -ENOBUFS) metrics_.stun_read_error.Add();
    ports_[index]->receiving = false;
    stopped_ = true;
  }
  void Resume(Ring& ring) {
    if (!stopped_) return;
    stopped_ = false;
    for (std::uint32_t i = 0; i < ports_.size(); ++i) {
      if (!ports_[i]->receiving) Receive(ring, i);
    }
  }

 private:
  static constexpr std::uint32_t kReplies = 512;

  struct Port {
    core::Fd fd;
    msghdr layout{};  // what the multishot receive was started with
    bool v6_socket = false;
    bool receiving = false;
  };
  struct Reply {
    msghdr message{};
    iovec piece{};
    sockaddr_storage to{};
    alignas(8) std::array<std::uint8_t, core::net::kPacketInfoSpace> control{};
    std::array<std::uint8_t, kMaxStunReplyBytes> payload{};
  };

  void Receive(Ring& ring, std::uint32_t index) {
    Port& port = *ports_[index];
    port.receiving = true;
    ring.ReceiveMessageMultishot(port.fd.get(), &port.layout,
                                 core::io::Token(receive_op_, index, 0));
  }

  std::uint8_t receive_op_;
  std::uint8_t send_op_;
  ShardMetrics& metrics_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::vector<Reply> replies_;
  std::vector<std::uint32_t> free_;
  bool stopped_ = false;
};

}  // namespace ringscale::relay
