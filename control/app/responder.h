// The answer to one request of a Noise client: at once, later, or as a stream.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/http/h2_server.h"

namespace ringscale::control {

// Whoever owns the streams that Responders answer: a connection, or a test.
class ResponderTarget {
 public:
  virtual ~ResponderTarget() = default;
  // Each as H2Server does it; false when the stream is gone.
  virtual bool Respond(std::int32_t stream, core::http::H2Response response) = 0;
  virtual bool RespondStream(std::int32_t stream, int status,
                             const std::vector<core::http::Header>& headers,
                             core::http::H2Server::MakeSource make) = 0;
  // Called once if the stream goes before it was answered.
  virtual void OnGone(std::int32_t stream, std::move_only_function<void()> call) = 0;
  [[nodiscard]] virtual bool HasStream(std::int32_t stream) const = 0;
};

// Moves with whoever owes the answer; answers 500 when it is destroyed without
// one. Control thread only. It may outlive its connection: answers to a stream
// that is gone go nowhere.
class Responder {
 public:
  Responder(std::weak_ptr<ResponderTarget> target, std::int32_t stream)
      : target_(std::move(target)), stream_(stream) {}
  Responder(Responder&& other) noexcept;
  Responder& operator=(Responder&& other) noexcept;
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;
  ~Responder();

  // Each may be called once; false when nobody waits any more.
  bool Send(core::http::H2Response response);
  bool Json(std::string json);                   // 200
  bool Text(int status, std::string_view text);  // text/plain, ends in a newline
  bool Empty(int status);                        // headers only
  // A streaming body. `make` is called at once (unless nobody waits) with the
  // stream's waker, which outlives the source.
  bool Stream(int status, std::string content_type, core::http::H2Server::MakeSource make);

  // The stream or its connection has gone, or was answered.
  [[nodiscard]] bool gone() const;
  // `call` runs if the client goes away before the answer, at most once.
  void OnGone(std::move_only_function<void()> call);

 private:
  std::shared_ptr<ResponderTarget> Take();

  std::weak_ptr<ResponderTarget> target_;
  std::int32_t stream_ = 0;
};

}  // namespace ringscale::control
