// The server's side of one HTTP/2 connection (RFC 9113), sans-IO: bytes in,
// requests out to a handler; answers in, bytes out when the socket can take them.
// Bodies are pulled from their sources under the peer's flow control and reach
// the output as slices, uncopied.
//
// Bounded in what a stranger can make it hold: streams, header fields, bodies,
// the session's own memory, frames that lead to nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/http/body_source.h"
#include "core/http/header.h"
#include "core/http/output_pieces.h"

namespace ringscale::core::http {

struct H2Request {
  std::int32_t stream = 0;
  std::string method;
  std::string path;   // without the query
  std::string query;  // without '?'
  std::string authority;
  std::string body;
};

struct H2Response {
  int status = 200;
  std::vector<Header> headers;  // names in lower case
  std::string body;
};

struct H2Limits {
  std::uint32_t streams = 100;
  std::size_t header_bytes = 16 * 1024;  // of one request, names and values
  std::uint32_t header_count = 64;
  std::size_t session_memory = 256 * 1024;  // of the protocol engine, bodies not counted
  // Frames since a request was complete or a body byte was sent: pings, settings,
  // resets, empty data and the like.
  std::uint32_t idle_frames = 8192;
  // The same in bytes, which also counts frames of unknown types; above what
  // bodies may hold.
  std::size_t idle_bytes = 8 << 20;
};

// What a request may hold while it is incomplete. Above it: 413.
struct H2BodyLimits {
  std::size_t request = 0;
  std::size_t session = 0;  // of all incomplete requests of the connection
};

// Called from inside Feed and TakeOutput; must not destroy the H2Server there.
class H2Handler {
 public:
  virtual ~H2Handler() = default;
  // The head of a request (body empty).
  virtual H2BodyLimits OnHead(const H2Request& head) = 0;
  // To be answered, now or later, by Respond or RespondStream.
  virtual void OnRequest(H2Request request) = 0;
  // Once for every stream that OnRequest was called for: fully answered, reset by
  // the peer, or gone with the connection. Its source is destroyed already.
  virtual void OnStreamClosed(std::int32_t stream) = 0;
  // There is something for TakeOutput. May come from a BodyWaker at any time:
  // only take note.
  virtual void OnOutputReady() = 0;
};

class H2Server {
 public:
  explicit H2Server(H2Handler& handler, const H2Limits& limits = {});
  ~H2Server();
  H2Server(const H2Server&) = delete;
  H2Server& operator=(const H2Server&) = delete;

  // Bytes from the peer. Peer's protocol violations are answered with GOAWAY by
  // TakeOutput, and `finished` becomes true; an error means to close at once.
  Result<> Feed(Bytes bytes);

  // Each answers a stream once. False (and nothing happens) when the stream is
  // gone or was answered.
  bool Respond(std::int32_t stream, H2Response response);
  // `make` is called at once, with the waker of this stream, which outlives the
  // source. A null source becomes a 500.
  using MakeSource = std::move_only_function<std::unique_ptr<BodySource>(BodyWaker& waker)>;
  bool RespondStream(std::int32_t stream, int status, const std::vector<Header>& headers,
                     MakeSource make);
  // Ends a stream with RST_STREAM.
  void Reset(std::int32_t stream);

  // Appends output until it is at least `max` bytes or there is no more for now.
  Result<> TakeOutput(std::size_t max, OutputPieces& out);

  // GOAWAY: streams that exist are served, new ones are refused.
  void GoAway();
  // Nothing more will be read or written: close when the output is sent.
  [[nodiscard]] bool finished() const;
  [[nodiscard]] std::size_t open_streams() const;
  [[nodiscard]] std::size_t session_memory() const;
  // The preface and the peer's first SETTINGS have arrived.
  [[nodiscard]] bool established() const;

  // Ends all streams; OnStreamClosed is called for each. The session is unusable
  // then. For owners that must be told before they destroy the server.
  void Abort();

 private:
  class Session;
  std::unique_ptr<Session> session_;
};

}  // namespace ringscale::core::http
