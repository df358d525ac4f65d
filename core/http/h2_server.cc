#include "core/http/h2_server.h"

#include "core/http/h2_session.h"

namespace ringscale::core::http {

H2Server::H2Server(H2Handler& handler, const H2Limits& limits)
    : session_(std::make_unique<Session>(handler, limits)) {}
H2Server::~H2Server() = default;

Result<> H2Server::Feed(Bytes bytes) {
  return session_->Feed(bytes);
}
bool H2Server::Respond(std::int32_t stream, H2Response response) {
  return session_->Respond(stream, std::move(response));
}
bool H2Server::RespondStream(std::int32_t stream, int status, const std::vector<Header>& headers,
                             MakeSource make) {
  return session_->RespondStream(stream, status, headers, std::move(make));
}
void H2Server::Reset(std::int32_t stream) {
  session_->Reset(stream);
}
Result<> H2Server::TakeOutput(std::size_t max, OutputPieces& out) {
  return session_->TakeOutput(max, out);
}
void H2Server::GoAway() {
  session_->GoAway();
}
void H2Server::Abort() {
  session_->Abort();
}
bool H2Server::finished() const {
  return session_->finished();
}
std::size_t H2Server::open_streams() const {
  return session_->open_streams();
}
std::size_t H2Server::session_memory() const {
  return session_->memory();
}
bool H2Server::established() const {
  return session_->established();
}

}  // namespace ringscale::core::http
