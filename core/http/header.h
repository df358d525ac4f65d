// Header fields of HTTP messages, of both versions.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace ringscale::core::http {

struct Header {
  std::string name;  // lower case when received
  std::string value;
};

// An answer that refuses a request: its status, and the sentence in its body.
struct HttpError {
  int status = 400;
  std::string text;
};

// ASCII only: header names and tokens have no other letters.
bool EqualsIgnoreCase(std::string_view a, std::string_view b);
void LowerAscii(std::string& text);
std::string_view TrimOws(std::string_view text);

// RFC 9110 section 5.6.2.
bool IsToken(std::string_view text);

// The value of the first field of that name (given in lower case); empty when
// there is none.
std::string_view FindHeader(std::span<const Header> headers, std::string_view name);
[[nodiscard]] bool HasHeader(std::span<const Header> headers, std::string_view name);

// True when a field of that name has `token` as an element of its
// comma-separated list, in any case ("Connection: keep-alive, Upgrade").
bool HeaderListHas(std::span<const Header> headers, std::string_view name, std::string_view token);

// "example.com", "example.com:8080", "192.0.2.1", "[2001:db8::1]:443": what may
// stand in a Host field and goes unchanged into URLs. Nothing that could end the
// host part of a URL passes.
bool IsValidHost(std::string_view host);

}  // namespace ringscale::core::http
