#include "tools/serverd/relay_probe.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "core/base/bytes.h"
#include "core/tls/aead.h"
#include "core/tls/client.h"
#include "tools/serverd/dialled.h"

namespace ringscale::serverd {
namespace {

using core::ErrorCode;
using core::Fail;

constexpr std::string_view kPinPrefix = "sha256-raw:";
// Whoever answers there need not be a relay.
constexpr std::size_t kMaxStatusLine = 1024;

}  // namespace

core::Result<> ProbeRelay(const RelayTarget& target, core::Duration limit) {
  core::tls::ClientSettings settings;
  if (target.cert_name.starts_with(kPinPrefix)) {
    settings.verify = core::tls::ClientSettings::Verify::kSha256Pin;
    settings.pin = target.cert_name.substr(kPinPrefix.size());
  }
  auto context = core::tls::MakeClientContext(settings);
  if (!context) return core::Forward(context);
  auto socket = Dialled::Connect(target.address.empty() ? target.host : target.address, target.port,
                                 core::MonotonicNow() + limit);
  if (!socket) return core::Forward(socket);
  auto handshake = core::tls::StartClientHandshake(*context, target.host);
  if (!handshake) return core::Forward(handshake);

  auto status = (*handshake)->Feed({});
  while (true) {
    if (auto sent = socket->Write((*handshake)->TakeOutput()); !sent) return sent;
    if (!status) return Fail(status.error().code, "TLS: " + status.error().message);
    if (*status == core::tls::ClientHandshake::Status::kDone) break;
    auto bytes = socket->Read();
    if (!bytes) return core::Forward(bytes);
    if (bytes->empty()) return Fail(ErrorCode::kClosed, "closed during the TLS handshake");
    status = (*handshake)->Feed(core::AsBytes(*bytes));
  }
  auto transport = (*handshake)->Finish();
  if (!transport) return core::Forward(transport);

  core::tls::AeadPool pool;
  const std::string request =
      "GET /derp/probe HTTP/1.1\r\nHost: " + target.host + "\r\nConnection: close\r\n\r\n";
  const std::string_view pieces[] = {request};
  std::string wire;
  if (auto sealed = transport->Seal(pool, pieces, wire); !sealed) return sealed;
  if (auto sent = socket->Write(wire); !sent) return sent;
  std::string answer;
  while (answer.find("\r\n") == std::string::npos && answer.size() < kMaxStatusLine) {
    auto bytes = socket->Read();
    if (!bytes) return core::Forward(bytes);
    if (bytes->empty()) return Fail(ErrorCode::kClosed, "closed before it answered");
    auto opened = transport->Receive(
        pool, {reinterpret_cast<std::uint8_t*>(bytes->data()), bytes->size()},
        [&](core::MutableBytes plaintext) { answer += core::AsText(plaintext); });
    if (!opened && answer.empty()) return opened;
  }
  if (!answer.starts_with("HTTP/1.1 200 ")) {
    return Fail(
        ErrorCode::kInvalid,
        "/derp/probe answered " + answer.substr(0, std::min(answer.find('\r'), kMaxStatusLine)));
  }
  return {};
}

struct RelayProber::Shared {
  Target target;
  Report report;
  core::Duration interval;
  std::mutex mutex;
  std::condition_variable stop_changed;
  bool stop = false;
  std::thread thread;

  void Run() {
    std::unique_lock lock(mutex);
    while (!stop) {
      lock.unlock();
      const RelayTarget now = target();
      report(now, ProbeRelay(now, core::Seconds(10)));
      lock.lock();
      stop_changed.wait_for(lock, std::chrono::nanoseconds(interval.ns), [this] { return stop; });
    }
  }
};

RelayProber::RelayProber(Target target, Report report, core::Duration interval)
    : shared_(std::make_unique<Shared>()) {
  shared_->target = std::move(target);
  shared_->report = std::move(report);
  shared_->interval = interval;
  shared_->thread = std::thread([shared = shared_.get()] { shared->Run(); });
}

RelayProber::~RelayProber() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stop = true;
  }
  shared_->stop_changed.notify_all();
  shared_->thread.join();
}

}  // namespace ringscale::serverd
