// One connection of the admin socket (internal).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/engine/loop.h"
#include "core/http/body_source.h"
#include "core/http/h1_request.h"
#include "core/http/h1_response.h"
#include "tools/serverd/admin_socket.h"

namespace ringscale::serverd {

class AdminConnection final : public core::engine::StreamHandler,
                              public core::http::BodyWaker,
                              public std::enable_shared_from_this<AdminConnection> {
 public:
  AdminConnection(AdminSocket& owner, std::uint64_t id, const core::net::PeerCredentials& peer);
  ~AdminConnection() override;

  void Start(core::Fd fd);
  // Closes at once and forgets the owner.
  void Abandon();

  void OnReceive(core::engine::StreamId stream, core::MutableBytes bytes) override;
  void OnSent(core::engine::StreamId stream) override;
  void OnClosed(core::engine::StreamId stream, int error) override;
  void Wake() override;

 private:
  enum class State : std::uint8_t { kRequest, kHandling, kStreaming, kClosing };

  void Process(core::Bytes bytes);
  void OnHead();
  bool OnUploadProgress();  // false: refused
  void OnRequest(core::Bytes rest);
  [[nodiscard]] control::AdminRequest TakeRequest();
  class Answer;
  [[nodiscard]] control::AdminRespond Responder();
  void Respond(control::AdminResponse response);
  void Refuse(const core::http::HttpError& error);
  void Refuse(const core::Error& error);
  void SendStreamHead(const control::AdminResponse& response);
  void Pump();
  void NextRequest();
  void Arm(core::Duration limit);
  void Close();
  void Log(int status) const;

  AdminSocket* owner_;  // null = abandoned
  core::engine::Loop& loop_;
  const AdminSocketLimits limits_;
  const std::uint64_t id_;
  const core::net::PeerCredentials peer_;
  core::engine::StreamId stream_;
  core::engine::TimerId timer_;
  core::http::RequestParser parser_;
  State state_ = State::kRequest;
  bool keep_alive_ = true;
  const AdminSocket::Route* route_ = nullptr;
  std::string method_;  // of the request being answered
  std::string path_;
  std::string pending_;  // received after the request that is being answered
  std::unique_ptr<UploadSink> upload_;
  std::unique_ptr<control::AdminBody> body_;
  bool pumping_ = false;
  bool woken_ = false;
};

}  // namespace ringscale::serverd
