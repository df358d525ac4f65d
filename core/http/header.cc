#include "core/http/header.h"

#include <algorithm>
#include <cstddef>

namespace ringscale::core::http {
namespace {

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}
bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsAlnum(char c) {
  return IsDigit(c) || (Lower(c) >= 'a' && Lower(c) <= 'z');
}
bool IsHexDigit(char c) {
  return IsDigit(c) || (Lower(c) >= 'a' && Lower(c) <= 'f');
}

constexpr std::size_t kMaxHost = 255 + 6;  // a DNS name, ':' and a port

bool IsTokenChar(char c) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return IsAlnum(c) || kOthers.find(c) != std::string_view::npos;
}

bool IsValidPort(std::string_view port) {
  return !port.empty() && port.size() <= 5 && std::ranges::all_of(port, IsDigit);
}

}  // namespace

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return Lower(x) == Lower(y); });
}

void LowerAscii(std::string& text) {
  for (char& c : text) c = Lower(c);
}

std::string_view TrimOws(std::string_view text) {
  const auto is_ows = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_ows(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_ows(text.back())) text.remove_suffix(1);
  return text;
}

bool IsToken(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, IsTokenChar);
}

std::string_view FindHeader(std::span<const Header> headers, std::string_view name) {
  for (const Header& header : headers) {
    if (header.name == name) return header.value;
  }
  return {};
}

bool HasHeader(std::span<const Header> headers, std::string_view name) {
  return std::ranges::any_of(headers, [&](const Header& h) { return h.name == name; });
}

bool HeaderListHas(std::span<const Header> headers, std::string_view name, std::string_view token) {
  for (const Header& header : headers) {
    if (header.name != name) continue;
    std::string_view rest = header.value;
    while (true) {
      const std::size_t comma = rest.find(',');
      if (EqualsIgnoreCase(TrimOws(rest.substr(0, comma)), token)) return true;
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return false;
}

bool IsValidHost(std::string_view host) {
  if (host.empty() || host.size() > kMaxHost) return false;
  std::string_view rest;
  if (host.front() == '[') {
    const std::size_t end = host.find(']');
    if (end == std::string_view::npos || end < 3) return false;
    const std::string_view literal = host.substr(1, end - 1);
    if (!std::ranges::all_of(literal,
                             [](char c) { return IsHexDigit(c) || c == ':' || c == '.'; })) {
      return false;
    }
    rest = host.substr(end + 1);
  } else {
    const std::size_t end = std::min(host.find(':'), host.size());
    const std::string_view name = host.substr(0, end);
    if (name.empty() || !std::ranges::all_of(name, [](char c) {
          return IsAlnum(c) || c == '-' || c == '.' || c == '_';
        })) {
      return false;
    }
    rest = host.substr(end);
  }
  return rest.empty() || (rest.front() == ':' && IsValidPort(rest.substr(1)));
}

}  // namespace ringscale::core::http
