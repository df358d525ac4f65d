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
Error NotSettled();

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
  void GoAway();
  void Abort();
  [[nodiscard]] bool finished() const { return failed_ || (idle_ ? finished_ : EngineFinished()); }
  [[nodiscard]] std::size_t open_streams() const { return streams_.size(); }
  [[nodiscard]] std::size_t memory() const { return memory_.used; }
  [[nodiscard]] bool established() const { return established_; }

 private:
  // What Stream::Prefetch takes of the session, and of whoever owns it.
  static constexpr std::size_t kHotBytes = 128;
  static constexpr std::size_t kHandlerBytes = 256;

  struct Stream : BodyWaker {
    Stream(Session& owner, std::int32_t stream_id)
        : session(owner), handler(owner.handler_), id(stream_id) {}
    void Wake() override { session.OnWake(*this); }
    void Prefetch() const override {
      core::Prefetch(&session, kHotBytes);
      core::Prefetch(&handler, kHandlerBytes);
      core::Prefetch(source.get(), 1);
    }

    // What waking and sending reads comes first: a stream that has been silent for
    // long is in no cache.
    Session& session;
    H2Handler& handler;
    const std::int32_t id;
    bool dispatched = false;  // OnRequest was called
    bool answered = false;
    bool waiting = false;  // its DATA is deferred until Wake
    bool woken = false;
    bool source_ended = false;
    Stream* next_woken = nullptr;
    std::unique_ptr<BodySource> source;
    SliceList pending;  // pulled, not framed yet
    std::size_t pending_first = 0;
    std::size_t pending_bytes = 0;
    std::size_t window = 0;  // the peer's, when the engine was asked at `window_at`
    std::uint64_t window_at = 0;
    std::size_t owed = 0;  // sent past the engine, which has not counted it yet
    H2Request request;
    std::size_t header_bytes = 0;
    std::uint32_t header_count = 0;
    int refusal = 0;  // status that answers instead of the handler
    std::size_t body_limit = 0;
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

  // Everything that is asked of nghttp2 goes through this, except reading its windows.
  nghttp2_session* Engine();
  [[nodiscard]] bool EngineFinished() const;
  Result<> RunEngine();
  // DATA of a stream whose body waits in the engine, past it (see h2_session_output.cc).
  void SendDirect(Stream& stream);
  [[nodiscard]] std::size_t Window(Stream& stream);
  void Settle();
  void Resume(Stream& stream);
  BodySource::Status Pull(Stream& stream, std::size_t limit);
  void AddFrame(Stream& stream, std::string_view header, std::size_t size);

  Stream* Find(std::int32_t id);
  void OnWake(Stream& stream);
  void TakeHeader(Stream& stream, std::string_view name, std::string_view value);
  void OnHeadComplete(Stream& stream);
  void OnRequestComplete(Stream& stream);
  void RefuseStream(Stream& stream, int status);
  void Destroy(std::int32_t id);
  bool Submit(Stream& stream, int status, const std::vector<Header>& headers, bool with_body);

  // What telling a quiet stream something reads comes first (kHotBytes).
  H2Handler& handler_;
  Stream* woken_ = nullptr;      // a list, by next_woken
  Stream* taking_ = nullptr;     // the rest of it during TakeOutput
  OutputPieces* out_ = nullptr;  // during TakeOutput
  std::size_t out_limit_ = 0;
  bool established_ = false;
  bool failed_ = false;
  // The engine has nothing to send, and nothing was asked of it since.
  bool idle_ = false;
  bool finished_ = false;  // as it was when the engine became idle
  bool settling_ = false;
  std::uint32_t idle_frames_ = 0;
  std::size_t idle_bytes_ = 0;
  std::uint64_t engine_used_ = 1;  // how often; windows are as they were until the next time
  std::size_t window_ = 0;         // of the connection
  std::uint64_t window_at_ = 0;
  std::size_t owed_ = 0;  // of all streams; only while the engine is idle
  nghttp2_session* session_ = nullptr;
  std::vector<std::unique_ptr<Stream>> streams_;
  const H2Limits limits_;
  Memory memory_;
  nghttp2_mem mem_;
  std::size_t body_bytes_ = 0;  // of incomplete requests
  std::size_t session_body_limit_ = 0;
};

}  // namespace ringscale::core::http
