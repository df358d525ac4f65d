#include "control/app/responder.h"

#include <utility>

namespace ringscale::control {

Responder::Responder(Responder&& other) noexcept
    : target_(std::exchange(other.target_, {})), stream_(other.stream_) {}

Responder& Responder::operator=(Responder&& other) noexcept {
  if (this != &other) {
    Text(500, "internal server error");
    target_ = std::exchange(other.target_, {});
    stream_ = other.stream_;
  }
  return *this;
}

Responder::~Responder() {
  Text(500, "internal server error");
}

std::shared_ptr<ResponderTarget> Responder::Take() {
  return std::exchange(target_, {}).lock();
}

bool Responder::Send(core::http::H2Response response) {
  const auto target = Take();
  return target != nullptr && target->Respond(stream_, std::move(response));
}

bool Responder::Json(std::string json) {
  return Send({200, {{"content-type", "application/json; charset=utf-8"}}, std::move(json)});
}

bool Responder::Text(int status, std::string_view text) {
  if (target_.expired()) return false;
  std::string body(text);
  body += '\n';
  return Send({status, {{"content-type", "text/plain; charset=utf-8"}}, std::move(body)});
}

bool Responder::Empty(int status) {
  return Send({status, {}, {}});
}

bool Responder::Stream(int status, std::string content_type,
                       core::http::H2Server::MakeSource make) {
  const auto target = Take();
  std::vector<core::http::Header> headers;
  if (!content_type.empty()) headers.push_back({"content-type", std::move(content_type)});
  return target != nullptr && target->RespondStream(stream_, status, headers, std::move(make));
}

bool Responder::gone() const {
  const auto target = target_.lock();
  return target == nullptr || !target->HasStream(stream_);
}

void Responder::OnGone(std::move_only_function<void()> call) {
  if (const auto target = target_.lock()) target->OnGone(stream_, std::move(call));
}

}  // namespace ringscale::control
