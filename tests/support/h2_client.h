// An HTTP/2 client in memory (nghttp2), for tests and fuzzers of the server side.
#pragma once

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringscale::testing {

struct H2Answer {
  int status = 0;
  std::string body;
  std::map<std::string, std::string> headers;
  bool ended = false;  // END_STREAM received
  bool closed = false;
  std::uint32_t error = 0;  // of the close
};

class H2Client {
 public:
  explicit H2Client(std::uint32_t initial_window = 65535) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                      std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                      std::uint8_t, void* user) {
          auto& answer = static_cast<H2Client*>(user)->answers[frame->hd.stream_id];
          const std::string field(reinterpret_cast<const char*>(name), name_size);
          const std::string text(reinterpret_cast<const char*>(value), value_size);
          if (field == ":status") {
            answer.status = std::stoi(text);
          } else {
            answer.headers[field] = text;
          }
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session*, std::uint8_t, std::int32_t stream, const std::uint8_t* data,
                      std::size_t size, void* user) {
          static_cast<H2Client*>(user)->answers[stream].body.append(
              reinterpret_cast<const char*>(data), size);
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
          auto& self = *static_cast<H2Client*>(user);
          if (frame->hd.type == NGHTTP2_GOAWAY) self.goaway = true;
          if (frame->hd.type == NGHTTP2_GOAWAY) self.goaway_error = frame->goaway.error_code;
          if (frame->hd.type == NGHTTP2_SETTINGS) ++self.settings;
          if (frame->hd.stream_id != 0 && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
              (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)) {
            self.answers[frame->hd.stream_id].ended = true;
          }
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        callbacks, [](nghttp2_session*, std::int32_t stream, std::uint32_t error, void* user) {
          auto& answer = static_cast<H2Client*>(user)->answers[stream];
          answer.closed = true;
          answer.error = error;
          return 0;
        });
    nghttp2_option* option = nullptr;
    nghttp2_option_new(&option);
    nghttp2_option_set_peer_max_concurrent_streams(option, 1000);
    nghttp2_session_client_new2(&session_, callbacks, this, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry ours[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
                                           {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, initial_window}};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, ours, 2);
    // As Go's client: the connection's window never is what stops a body.
    if (initial_window > 65535) {
      nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, 1 << 30);
    }
  }
  ~H2Client() { nghttp2_session_del(session_); }
  H2Client(const H2Client&) = delete;
  H2Client& operator=(const H2Client&) = delete;

  // The stream's number. An empty body ends the request with its head, unless
  // `open`: then the request stays incomplete.
  std::int32_t Request(std::string_view method, std::string_view path, std::string body = {},
                       const std::vector<std::pair<std::string, std::string>>& headers = {},
                       bool open = false) {
    std::vector<nghttp2_nv> fields;
    const auto add = [&](std::string_view name, std::string_view value) {
      fields.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                        reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())),
                        name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    };
    add(":method", method);
    add(":scheme", "https");
    add(":authority", "control.example:443");
    add(":path", path);
    for (const auto& [name, value] : headers) add(name, value);
    Body* source = new Body{std::move(body), 0, open};
    bodies_.emplace_back(source);
    nghttp2_data_provider provider;
    provider.source.ptr = source;
    provider.read_callback = [](nghttp2_session*, std::int32_t, std::uint8_t* buffer,
                                std::size_t size, std::uint32_t* flags, nghttp2_data_source* data,
                                void*) -> ssize_t {
      auto& b = *static_cast<Body*>(data->ptr);
      const std::size_t n = std::min(size, b.text.size() - b.sent);
      if (n == 0 && b.open) return NGHTTP2_ERR_DEFERRED;
      std::copy_n(b.text.data() + b.sent, n, reinterpret_cast<char*>(buffer));
      b.sent += n;
      if (b.sent == b.text.size() && !b.open) *flags |= NGHTTP2_DATA_FLAG_EOF;
      return static_cast<ssize_t>(n);
    };
    const bool with_body = !source->text.empty() || open;
    return nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(),
                                  with_body ? &provider : nullptr, nullptr);
  }

  void Reset(std::int32_t stream) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL);
  }
  // Window for bytes that have come; stream 0 is the connection.
  void GiveBack(std::int32_t stream, std::size_t bytes) {
    nghttp2_submit_window_update(session_, NGHTTP2_FLAG_NONE, stream,
                                 static_cast<std::int32_t>(bytes));
  }
  void Ping() { nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr); }

  std::string TakeOutput() {
    std::string out;
    const std::uint8_t* data = nullptr;
    for (ssize_t n = 0; (n = nghttp2_session_mem_send(session_, &data)) > 0;) {
      out.append(reinterpret_cast<const char*>(data), static_cast<std::size_t>(n));
    }
    return out;
  }
  // False when the bytes are no HTTP/2.
  bool Feed(std::string_view bytes) {
    return nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                    bytes.size()) >= 0;
  }

  std::map<std::int32_t, H2Answer> answers;
  bool goaway = false;
  std::uint32_t goaway_error = 0;
  int settings = 0;

 private:
  struct Body {
    std::string text;
    std::size_t sent = 0;
    bool open = false;
  };
  nghttp2_session* session_ = nullptr;
  std::vector<std::unique_ptr<Body>> bodies_;
};

}  // namespace ringscale::testing
