#include "control/policy/format.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "control/policy/hujson.h"

namespace ringscale::control::policy {
namespace {

struct Token {
  enum class Kind : std::uint8_t { kOpen, kClose, kComma, kColon, kValue, kComment };
  Kind kind = Kind::kValue;
  std::string_view text;
  int lines = 0;  // line breaks before it
};

// The text is known to be HuJSON.
std::vector<Token> Split(std::string_view text) {
  std::vector<Token> tokens;
  int lines = 0;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
      lines += c == '\n' ? 1 : 0;
      ++at;
      continue;
    }
    Token token;
    std::size_t end = at + 1;
    if (c == '{' || c == '[') {
      token.kind = Token::Kind::kOpen;
    } else if (c == '}' || c == ']') {
      token.kind = Token::Kind::kClose;
    } else if (c == ',') {
      token.kind = Token::Kind::kComma;
    } else if (c == ':') {
      token.kind = Token::Kind::kColon;
    } else if (c == '/') {
      token.kind = Token::Kind::kComment;
      end = text[at + 1] == '/' ? std::min(text.find('\n', at), text.size())
                                : text.find("*/", at + 2) + 2;
    } else if (c == '"') {
      while (text[end] != '"') end += text[end] == '\\' ? 2 : 1;
      ++end;
    } else {
      end = std::min(text.find_first_of(" \t\r\n,:{}[]/", at), text.size());
    }
    token.text = text.substr(at, end - at);
    while (token.text.ends_with('\r')) token.text.remove_suffix(1);
    token.lines = std::exchange(lines, 0);
    tokens.push_back(token);
    at = end;
  }
  return tokens;
}

}  // namespace

Checked<std::string> FormatHuJson(std::string_view text) {
  if (auto value = ParseHuJson(text); !value) return std::unexpected(std::move(value.error()));
  using Kind = Token::Kind;
  const std::vector<Token> tokens = Split(text);
  std::string out;
  std::size_t depth = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const Token& token = tokens[i];
    const Token* const before = i > 0 ? &tokens[i - 1] : nullptr;
    const bool closes = token.kind == Kind::kClose;
    if (closes && depth > 0) --depth;
    // A comma stays with what it follows.
    const bool breaks = before != nullptr && token.kind != Kind::kComma &&
                        token.kind != Kind::kColon &&
                        (token.lines > 0 || before->text.starts_with("//"));
    if (breaks) {
      if (closes && before->kind != Kind::kOpen && before->kind != Kind::kComma &&
          before->kind != Kind::kComment) {
        out += ',';
      }
      out += '\n';
      if (token.lines > 1 && before->kind != Kind::kOpen && !closes) out += '\n';
      out.append(depth * 2, ' ');
    } else if (before != nullptr && token.kind != Kind::kComma && token.kind != Kind::kColon) {
      const bool tight = before->kind == Kind::kOpen || closes;
      if (closes && before->kind == Kind::kComma) out.pop_back();
      if (!tight || token.kind == Kind::kComment || before->kind == Kind::kComment) out += ' ';
    }
    out += token.text;
    if (token.kind == Kind::kOpen) ++depth;
    // What follows a line comment cannot stand on its line.
    if (token.text.starts_with("//") && i + 1 < tokens.size() &&
        (tokens[i + 1].kind == Kind::kComma || tokens[i + 1].kind == Kind::kColon)) {
      out += '\n';
      out.append(depth * 2, ' ');
    }
  }
  return out + "\n";
}

}  // namespace ringscale::control::policy
