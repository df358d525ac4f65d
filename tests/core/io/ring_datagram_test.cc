// Datagrams through a ring.
#include <netinet/in.h>

#include "core/io/datagram.h"
#include "tests/core/io/ring_support.h"

namespace ringscale::core::io {
namespace {

template <class Ring>
class RingDatagrams : public RingTest<Ring> {};
TYPED_TEST_SUITE(RingDatagrams, Rings);

TYPED_TEST(RingDatagrams, DatagramsComeWithTheirSender) {
  const Fd server = LoopbackSocket(SOCK_DGRAM);
  const Fd client = LoopbackSocket(SOCK_DGRAM);
  const int one = 1;
  setsockopt(server.get(), IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
  msghdr layout{};
  layout.msg_namelen = sizeof(sockaddr_in6);
  layout.msg_controllen = 64;
  this->ring().ReceiveMessageMultishot(server.get(), &layout, Token(kReceive, 1, 1));
  socklen_t server_length = 0;
  sockaddr_storage server_address = AddressOf(server.get(), server_length);
  socklen_t client_length = 0;
  const sockaddr_storage client_address = AddressOf(client.get(), client_length);

  for (const std::size_t size : {std::size_t{0}, std::size_t{20}, std::size_t{5000}}) {
    const std::string payload = Pattern(size);
    sendto(client.get(), payload.data(), payload.size(), 0,
           reinterpret_cast<sockaddr*>(&server_address), server_length);
    const Completion completion = this->Next();
    ASSERT_TRUE(completion.has_buffer);
    // io_uring ends the operation with an empty datagram.
    EXPECT_TRUE(completion.more || size == 0);
    if (!completion.more) {
      this->ring().ReceiveMessageMultishot(server.get(), &layout, Token(kReceive, 1, 1));
    }
    const MutableBytes received(this->ring().BufferData(completion.buffer_id),
                                static_cast<std::size_t>(completion.result));
    const auto view = DatagramView::Parse(received, layout);
    ASSERT_TRUE(view.has_value());
    EXPECT_EQ(view->Sender(), SocketAddress::FromNative(client_address));
    EXPECT_GE(view->control.size(), CMSG_LEN(sizeof(in_pktinfo)));
    EXPECT_EQ(view->truncated, size == 5000);
    EXPECT_EQ(AsText(view->payload), payload.substr(0, view->payload.size()));
    if (size < 5000) {
      EXPECT_EQ(view->payload.size(), size);
    }
    this->ring().ReturnBuffer(completion.buffer_id);
  }
}

TYPED_TEST(RingDatagrams, SendsDatagrams) {
  const Fd server = LoopbackSocket(SOCK_DGRAM);
  const Fd client = LoopbackSocket(SOCK_DGRAM);
  socklen_t length = 0;
  sockaddr_storage address = AddressOf(client.get(), length);
  std::vector<std::string> payloads;
  for (int i = 0; i < 20; ++i) payloads.push_back("datagram " + std::to_string(i));
  std::vector<iovec> vecs(payloads.size());
  std::vector<msghdr> messages(payloads.size());
  for (std::size_t i = 0; i < payloads.size(); ++i) {
    vecs[i] = Vec(payloads[i]);
    messages[i].msg_name = &address;
    messages[i].msg_namelen = length;
    messages[i].msg_iov = &vecs[i];
    messages[i].msg_iovlen = 1;
    this->ring().SendMessage(server.get(), &messages[i],
                             Token(kSend, static_cast<std::uint32_t>(i), 1));
  }
  for (std::size_t i = 0; i < payloads.size(); ++i) {
    const Completion completion = this->Next();
    EXPECT_EQ(completion.result,
              static_cast<std::int32_t>(payloads[completion.token.slot()].size()));
  }
  for (const std::string& payload : payloads) {
    char got[64];
    EXPECT_EQ(recv(client.get(), got, sizeof got, 0), static_cast<ssize_t>(payload.size()));
    EXPECT_EQ(std::string(got, payload.size()), payload);
  }
}

}  // namespace
}  // namespace ringscale::core::io
