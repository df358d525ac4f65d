#include "tools/relayd/client_check.h"

#include <curl/curl.h>

#include <cstdlib>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>

#include "core/engine/topology.h"
#include "core/json/reader.h"
#include "core/json/writer.h"
#include "core/obs/log.h"

namespace ringscale::relayd {
namespace {

constexpr std::size_t kMaxAnswer = 4096;
// What a tailscaled is told that its caller understands; older ones do not care.
constexpr const char* kCapability = "Tailscale-Cap: 145";
constexpr long kLongestPollMs = 1000;

struct Question {
  core::NodePublic key;
  core::IpAddress source;
  ClientCheck::Answer answer;
};

// One question on its way.
struct Transfer {
  enum class Stage : unsigned char { kTailscaled, kUrl };
  Question question;
  Stage stage = Stage::kUrl;
  std::unique_ptr<CURL, void (*)(CURL*)> handle{nullptr, curl_easy_cleanup};
  std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers{nullptr, curl_slist_free_all};
  std::string request;
  std::string body;
  bool too_long = false;
};

std::size_t OnBody(char* data, std::size_t, std::size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (transfer.body.size() + size > kMaxAnswer) {
    transfer.too_long = true;
    return 0;
  }
  transfer.body.append(data, size);
  return size;
}

}  // namespace

std::string AdmissionRequest(const core::NodePublic& key, const core::IpAddress& source) {
  std::string text;
  core::json::Writer json(text);
  json.BeginObject()
      .Field("NodePublic", key.text())
      .Field("Source", source.valid() ? source.text() : std::string())
      .EndObject();
  return text;
}

bool IsAllowed(std::string_view answer) {
  core::json::Parser parser;
  const auto root = parser.Parse(answer);
  return root && (*root)["Allow"].AsBool().value_or(false);
}

class ClientCheck::Impl {
 public:
  explicit Impl(Options options) : options_(std::move(options)) {}
  ~Impl() {
    if (multi_ != nullptr) curl_multi_cleanup(multi_);
  }

  core::Result<> Start(core::MetricsRegistry& metrics, const std::shared_ptr<Impl>& self);
  void Ask(Question question);
  void Stop();

 private:
  void Run();
  void TakeQuestions();
  void Begin(Question question);
  void Send(std::unique_ptr<Transfer> transfer, Transfer::Stage stage);
  void OnEnd(CURL* handle, CURLcode code);
  void Decide(Question& question, bool allow);

  const Options options_;
  CURLM* multi_ = nullptr;
  std::mutex mutex_;
  std::deque<Question> questions_;
  bool stop_ = false;
  std::unordered_map<CURL*, std::unique_ptr<Transfer>> transfers_;
  std::thread thread_;
  core::SharedCounter allowed_;
  core::SharedCounter refused_;
  core::SharedCounter failed_open_;
  core::SharedCounter failed_;
};

core::Result<> ClientCheck::Impl::Start(core::MetricsRegistry& metrics,
                                        const std::shared_ptr<Impl>& self) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  multi_ = curl_multi_init();
  if (multi_ == nullptr) return core::Fail(core::ErrorCode::kUnavailable, "libcurl has no memory");
  const auto count = [&](const char* result, const core::SharedCounter& counter) {
    metrics.Add("ringscale_relay_admissions_total", core::MetricsRegistry::Kind::kCounter,
                "Clients that were asked about, by result.", {{"result", result}},
                [self, &counter] { return static_cast<double>(counter.Value()); });
  };
  count("allowed", allowed_);
  count("refused", refused_);
  count("failed_open", failed_open_);
  count("failed", failed_);
  thread_ = std::thread([this] { Run(); });
  return {};
}

void ClientCheck::Impl::Ask(Question question) {
  {
    const std::lock_guard lock(mutex_);
    if (!stop_ && questions_.size() < options_.waiting) {
      questions_.push_back(std::move(question));
      curl_multi_wakeup(multi_);
      return;
    }
  }
  Decide(question, false);
}

void ClientCheck::Impl::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  curl_multi_wakeup(multi_);
  thread_.join();
  for (auto& [handle, transfer] : transfers_) {
    curl_multi_remove_handle(multi_, handle);
    Decide(transfer->question, false);
  }
  transfers_.clear();
  for (Question& question : questions_) Decide(question, false);
  questions_.clear();
}

void ClientCheck::Impl::Run() {
  core::engine::SetThreadName("admission");
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (stop_) return;
    }
    TakeQuestions();
    int running = 0;
    curl_multi_perform(multi_, &running);
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg == CURLMSG_DONE) OnEnd(message->easy_handle, message->data.result);
    }
    {
      const std::lock_guard lock(mutex_);
      if (!questions_.empty() && transfers_.size() < options_.in_flight) continue;
    }
    curl_multi_poll(multi_, nullptr, 0, kLongestPollMs, nullptr);
  }
}

void ClientCheck::Impl::TakeQuestions() {
  while (transfers_.size() < options_.in_flight) {
    std::optional<Question> question;
    {
      const std::lock_guard lock(mutex_);
      if (questions_.empty()) return;
      question.emplace(std::move(questions_.front()));
      questions_.pop_front();
    }
    Begin(std::move(*question));
  }
}

void ClientCheck::Impl::Begin(Question question) {
  auto transfer = std::make_unique<Transfer>();
  transfer->question = std::move(question);
  const auto first =
      options_.tailscaled_socket.empty() ? Transfer::Stage::kUrl : Transfer::Stage::kTailscaled;
  Send(std::move(transfer), first);
}

void ClientCheck::Impl::Send(std::unique_ptr<Transfer> transfer, Transfer::Stage stage) {
  transfer->stage = stage;
  transfer->body.clear();
  transfer->handle.reset(curl_easy_init());
  CURL* handle = transfer->handle.get();
  if (handle == nullptr) {
    Decide(transfer->question, false);
    return;
  }
  std::string url = options_.url;
  if (stage == Transfer::Stage::kTailscaled) {
    url = "http://local-tailscaled.sock/localapi/v0/whois?addr=nodekey%3A" +
          transfer->question.key.text().substr(core::NodeKeyTag::kPrefix.size());
    curl_easy_setopt(handle, CURLOPT_UNIX_SOCKET_PATH, options_.tailscaled_socket.c_str());
    transfer->headers.reset(curl_slist_append(nullptr, kCapability));
  } else {
    transfer->request = AdmissionRequest(transfer->question.key, transfer->question.source);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, transfer->request.c_str());
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE, static_cast<long>(transfer->request.size()));
    transfer->headers.reset(curl_slist_append(nullptr, "Content-Type: application/json"));
    // As every other program here: the system's trust store, or what this names.
    const char* trusted = std::getenv("SSL_CERT_FILE");
    if (trusted != nullptr) curl_easy_setopt(handle, CURLOPT_CAINFO, trusted);
  }
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, transfer->headers.get());
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(options_.timeout.millis()));
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_PROXY, stage == Transfer::Stage::kTailscaled ? "" : nullptr);
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "ringscale");
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, transfer.get());
  curl_multi_add_handle(multi_, handle);
  transfers_[handle] = std::move(transfer);
}

void ClientCheck::Impl::OnEnd(CURL* handle, CURLcode code) {
  const auto found = transfers_.find(handle);
  if (found == transfers_.end()) return;
  auto transfer = std::move(found->second);
  transfers_.erase(found);
  curl_multi_remove_handle(multi_, handle);
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  const bool answered = code == CURLE_OK || transfer->too_long;
  if (!answered) {
    failed_.Add();
    core::LogWarn("admission", "a client could not be asked about",
                  {{"key", transfer->question.key.text()},
                   {"at", transfer->stage == Transfer::Stage::kUrl ? options_.url
                                                                   : options_.tailscaled_socket},
                   {"error", curl_easy_strerror(code)}});
  }
  if (transfer->stage == Transfer::Stage::kTailscaled) {
    const bool known = answered && status == 200;
    if (!known || options_.url.empty()) return Decide(transfer->question, known);
    Send(std::move(transfer), Transfer::Stage::kUrl);
    return;
  }
  if (!answered && options_.fail_open) {
    failed_open_.Add();
    return transfer->question.answer(true);
  }
  Decide(transfer->question,
         answered && !transfer->too_long && status == 200 && IsAllowed(transfer->body));
}

void ClientCheck::Impl::Decide(Question& question, bool allow) {
  (allow ? allowed_ : refused_).Add();
  if (!allow) {
    core::LogDebug("admission", "client refused",
                   {{"key", question.key.text()}, {"address", question.source.text()}});
  }
  question.answer(allow);
}

ClientCheck::ClientCheck(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

ClientCheck::~ClientCheck() {
  impl_->Stop();
}

core::Result<std::unique_ptr<ClientCheck>> ClientCheck::Start(Options options,
                                                              core::MetricsRegistry& metrics) {
  auto impl = std::make_shared<Impl>(std::move(options));
  if (auto started = impl->Start(metrics, impl); !started) return core::Forward(started);
  return std::unique_ptr<ClientCheck>(new ClientCheck(std::move(impl)));
}

void ClientCheck::Ask(const core::NodePublic& key, const core::IpAddress& source, Answer answer) {
  impl_->Ask({.key = key, .source = source, .answer = std::move(answer)});
}

}  // namespace ringscale::relayd
