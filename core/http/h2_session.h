// What lies behind H2Server: the nghttp2 session, its callbacks and streams.
// Private to h2_server.cc and h2_session*.cc.
#pragma once

#include <nghttp2/nghttp2.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/prefetch.h"
#include "core/http/h2_server.h"

namespace ringscale::core::http {

// What nghttp2 says went wrong.
Error EngineError(ssize_t code);

class H2Server::Session {
 public:
  Session(H2Handler& handler, const H2Limits& limits);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Result<> Feed(Bytes bytes);
  bool Respond(std::int32_t stream, H2Response response);
  bool RespondStream(std::int32_t stream, int status, const std::vector<Header>& headers,
                     MakeSource make);
  void Reset(std::int32_t stream);
  Result<> TakeOutput(std::size_t max, OutputPieces& out);
  void Prefetch() const;
  void GoAway();
  void Abort();
  [[nodiscard]] bool finished() const;
  [[nodiscard]] std::size_t open_streams() const { return streams_.size(); }
  [[nodiscard]] std::size_t memory() const { return memory_.used; }
  [[nodiscard]] bool established() const { return established_; }

 private:
  struct Stream : BodyWaker {
    Stream(Session& owner, std::int32_t stream_id) : session(owner), id(stream_id) {}
    void Wake() override { session.OnWake(*this); }
    void Prefetch() const override { core::Prefetch(&session, sizeof session); }

    Session& session;
    const std::int32_t id;
    H2Request request;
    std::size_t header_bytes = 0;
    std::uint32_t header_count = 0;
    std::size_t body_limit = 0;
    int refusal = 0;          // status that answers instead of the handler
    bool dispatched = false;  // OnRequest was called
    bool answered = false;
    bool waiting = false;  // its DATA is deferred until Wake
    bool woken = false;
    bool source_ended = false;
    std::unique_ptr<BodySource> source;
    SliceList pending;  // pulled, not framed yet
    std::size_t pending_first = 0;
    std::size_t pending_bytes = 0;
  };
  // nghttp2's allocations, counted and bounded.
  struct Memory {
    std::size_t used = 0;
    std::size_t limit = 0;
  };

  static nghttp2_mem MakeMem(Memory& memory);
  static nghttp2_session_callbacks* Callbacks();
  static const nghttp2_option* Options();

  static int OnBeginFrame(nghttp2_session*, const nghttp2_frame_hd*, void* user);
  static int OnBeginHeaders(nghttp2_session*, const nghttp2_frame*, void* user);
  static int OnHeader(nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name,
                      std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                      std::uint8_t flags, void* user);
  static int OnFrame(nghttp2_session*, const nghttp2_frame*, void* user);
  static int OnDataChunk(nghttp2_session*, std::uint8_t flags, std::int32_t stream_id,
                         const std::uint8_t* data, std::size_t size, void* user);
  static int OnStreamClose(nghttp2_session*, std::int32_t stream_id, std::uint32_t error,
                           void* user);
  static int OnFrameSent(nghttp2_session*, const nghttp2_frame*, void* user);
  static ssize_t ReadBody(nghttp2_session*, std::int32_t stream_id, std::uint8_t* buffer,
                          std::size_t size, std::uint32_t* flags, nghttp2_data_source* source,
                          void* user);
  static int SendData(nghttp2_session*, nghttp2_frame*, const std::uint8_t* frame_header,
                      std::size_t size, nghttp2_data_source* source, void* user);

  Stream* Find(std::int32_t id);
  void OnWake(Stream& stream);
  void TakeHeader(Stream& stream, std::string_view name, std::string_view value);
  void OnHeadComplete(Stream& stream);
  void OnRequestComplete(Stream& stream);
  void RefuseStream(Stream& stream, int status);
  void Destroy(std::int32_t id);
  bool Submit(Stream& stream, int status, const std::vector<Header>& headers, bool with_body);

  H2Handler& handler_;
  const H2Limits limits_;
  Memory memory_;
  nghttp2_mem mem_;
  nghttp2_session* session_ = nullptr;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::vector<std::int32_t> woken_;
  OutputPieces* out_ = nullptr;  // during TakeOutput
  std::size_t out_limit_ = 0;
  std::size_t body_bytes_ = 0;  // of incomplete requests
  std::size_t session_body_limit_ = 0;
  std::uint32_t idle_frames_ = 0;
  std::size_t idle_bytes_ = 0;
  bool established_ = false;
  bool failed_ = false;
};

}  // namespace ringscale::core::http
