#include "tools/relayd/bootstrap_dns.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "core/engine/topology.h"
#include "core/json/writer.h"

namespace ringscale::relayd {
namespace {

std::vector<std::string> AddressesOf(const std::string& name) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (getaddrinfo(name.c_str(), nullptr, &hints, &list) != 0) return {};
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(list, &freeaddrinfo);
  std::vector<std::string> addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    char text[NI_MAXHOST];
    if (getnameinfo(entry->ai_addr, entry->ai_addrlen, text, sizeof text, nullptr, 0,
                    NI_NUMERICHOST) != 0) {
      continue;
    }
    if (std::ranges::find(addresses, text) == addresses.end()) addresses.emplace_back(text);
  }
  return addresses;
}

}  // namespace

struct BootstrapDns::Shared {
  std::vector<std::string> names;
  core::Duration interval;
  mutable std::mutex mutex;
  std::condition_variable changed;
  bool stop = false;
  std::string body;
  std::map<std::string, bool> resolved;  // which names have addresses
  std::thread thread;

  void Run() {
    core::engine::SetThreadName("bootstrap-dns");
    std::unique_lock lock(mutex);
    while (!stop) {
      lock.unlock();
      std::string text;
      std::map<std::string, bool> found;
      core::json::Writer json(text);
      json.BeginObject();
      for (const std::string& name : names) {
        const auto addresses = AddressesOf(name);
        found[name] = !addresses.empty();
        json.ForeignKey(name).BeginArray();
        for (const std::string& address : addresses) json.Value(address);
        json.EndArray();
      }
      json.EndObject();
      lock.lock();
      body = std::move(text);
      resolved = std::move(found);
      changed.wait_for(lock, std::chrono::nanoseconds(interval.ns), [this] { return stop; });
    }
  }
};

BootstrapDns::BootstrapDns(std::vector<std::string> names, core::Duration interval)
    : shared_(std::make_unique<Shared>()) {
  shared_->names = std::move(names);
  shared_->interval = interval;
  if (shared_->names.empty()) return;
  shared_->thread = std::thread([shared = shared_.get()] { shared->Run(); });
}

BootstrapDns::~BootstrapDns() {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stop = true;
  }
  shared_->changed.notify_all();
  if (shared_->thread.joinable()) shared_->thread.join();
}

std::string BootstrapDns::Answer(const std::string& name) const {
  stats_->requests.Add();
  const std::lock_guard lock(shared_->mutex);
  if (!name.empty()) {
    const auto it = shared_->resolved.find(name);
    (it == shared_->resolved.end() ? stats_->unknown
     : it->second                  ? stats_->hits
                                   : stats_->misses)
        .Add();
  }
  return shared_->body;
}

}  // namespace ringscale::relayd
