#include <curl/curl.h>

#include <memory>
#include <mutex>

#include "control/derp/derp_sources.h"

namespace ringscale::control {
namespace {

struct Transfer {
  std::string body;
  std::size_t max_bytes = 0;
  bool too_long = false;
  const std::function<bool()>* cancelled = nullptr;
};

std::size_t OnBody(char* data, std::size_t, std::size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (transfer.body.size() + size > transfer.max_bytes) {
    transfer.too_long = true;
    return 0;
  }
  transfer.body.append(data, size);
  return size;
}

int OnProgress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& transfer = *static_cast<Transfer*>(user);
  return (*transfer.cancelled)() ? 1 : 0;
}

}  // namespace

core::Result<std::string> FetchUrl(const std::string& url, std::size_t max_bytes,
                                   const std::function<bool()>& cancelled) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  if (curl == nullptr) return core::Fail(core::ErrorCode::kUnavailable, "libcurl has no memory");

  Transfer transfer{.body = {}, .max_bytes = max_bytes, .cancelled = &cancelled};
  CURL* handle = curl.get();
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(handle, CURLOPT_MAXREDIRS, 5L);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT, 30L);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, 10L);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "");
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "ringscale");
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, OnProgress);
  curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &transfer);
  const CURLcode code = curl_easy_perform(handle);
  if (transfer.too_long) {
    return core::Fail(core::ErrorCode::kLimit,
                      "the answer is longer than " + std::to_string(max_bytes) + " bytes");
  }
  if (code != CURLE_OK) return core::Fail(core::ErrorCode::kIo, curl_easy_strerror(code));
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) {
    return core::Fail(core::ErrorCode::kIo, "the answer has status " + std::to_string(status));
  }
  return std::move(transfer.body);
}

}  // namespace ringscale::control
