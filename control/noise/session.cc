#include "control/noise/session.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/crypto/chacha20poly1305.h"
#include "core/crypto/secret_text.h"

namespace ringscale::control::noise {
namespace {

namespace aead = core::chacha20poly1305;

constexpr std::uint8_t kRecordType = 4;
constexpr std::size_t kHeader = 3;
constexpr std::uint64_t kLastCounter = std::numeric_limits<std::uint64_t>::max();
static_assert(kHeader + kMaxPlaintext + aead::kTagSize == kMaxRecord);

core::Result<std::size_t> CiphertextSize(const std::uint8_t* header) {
  if (header[0] != kRecordType) {
    return core::Fail(core::ErrorCode::kInvalid, "Noise: unexpected record type");
  }
  const std::size_t size = core::LoadBe16(header + 1);
  if (kHeader + size > kMaxRecord) {
    return core::Fail(core::ErrorCode::kInvalid, "Noise: record longer than 4096 bytes");
  }
  if (size < aead::kTagSize) {
    return core::Fail(core::ErrorCode::kInvalid, "Noise: record shorter than its tag");
  }
  return size;
}

}  // namespace

Session::Session(const std::array<std::uint8_t, 32>& receive_key,
                 const std::array<std::uint8_t, 32>& send_key) {
  receive_.key = receive_key;
  send_.key = send_key;
}

Session::Session(Session&& other) noexcept
    : receive_(other.receive_), send_(other.send_), partial_(std::move(other.partial_)) {
  core::Wipe(other.receive_.key);
  core::Wipe(other.send_.key);
}

Session& Session::operator=(Session&& other) noexcept {
  if (this != &other) {
    receive_ = other.receive_;
    send_ = other.send_;
    partial_ = std::move(other.partial_);
    core::Wipe(other.receive_.key);
    core::Wipe(other.send_.key);
  }
  return *this;
}

Session::~Session() {
  core::Wipe(receive_.key);
  core::Wipe(send_.key);
}

core::Result<> Session::Open(core::Bytes ciphertext, std::string& plaintext) {
  if (receive_.counter == kLastCounter) {
    return core::Fail(core::ErrorCode::kLimit, "Noise: the record counter is used up");
  }
  const std::size_t before = plaintext.size();
  const std::size_t size = ciphertext.size() - aead::kTagSize;
  bool opened = false;
  // The second argument is not used: libstdc++ 12 passes the capacity.
  plaintext.resize_and_overwrite(before + size, [&](char* data, std::size_t) {
    const core::MutableBytes out(reinterpret_cast<std::uint8_t*>(data) + before, size);
    opened = aead::Open(receive_.key, aead::CounterNonce(receive_.counter), {}, ciphertext, out);
    return opened ? before + size : before;
  });
  if (!opened) {
    return core::Fail(core::ErrorCode::kCorrupt, "Noise: a record does not authenticate");
  }
  ++receive_.counter;
  return {};
}

core::Result<> Session::Receive(core::Bytes bytes, std::string& plaintext) {
  while (!bytes.empty()) {
    if (partial_.empty() && bytes.size() >= kHeader) {
      const auto size = CiphertextSize(bytes.data());
      if (!size) return std::unexpected(size.error());
      if (bytes.size() >= kHeader + *size) {
        if (auto opened = Open(bytes.subspan(kHeader, *size), plaintext); !opened) return opened;
        bytes = bytes.subspan(kHeader + *size);
        continue;
      }
    }
    // The record is not complete here: gather it, header first.
    std::size_t wanted = kHeader;
    if (partial_.size() >= kHeader) {
      const auto size = CiphertextSize(core::AsBytes(partial_).data());
      if (!size) return std::unexpected(size.error());
      wanted += *size;
    }
    const std::size_t taken = std::min(wanted - partial_.size(), bytes.size());
    partial_.append(core::AsText(bytes.first(taken)));
    bytes = bytes.subspan(taken);
    if (partial_.size() < wanted) return {};
    if (wanted == kHeader) {
      // A bad header is refused before its record has come.
      if (const auto size = CiphertextSize(core::AsBytes(partial_).data()); !size) {
        return std::unexpected(size.error());
      }
      if (bytes.empty()) return {};
      continue;
    }
    // Frees the memory too: idle connections keep none.
    const std::string record = std::exchange(partial_, {});
    if (auto opened = Open(core::AsBytes(record).subspan(kHeader), plaintext); !opened) {
      return opened;
    }
  }
  return {};
}

std::size_t Session::SealedSize(std::size_t size) {
  const std::size_t records = (size + kMaxPlaintext - 1) / kMaxPlaintext;
  return size + records * (kHeader + aead::kTagSize);
}

core::Result<> Session::Seal(std::span<const std::string_view> pieces, std::string& out) {
  std::size_t total = 0;
  for (const std::string_view piece : pieces) total += piece.size();
  const std::size_t records = (total + kMaxPlaintext - 1) / kMaxPlaintext;
  if (records >= kLastCounter - send_.counter) {
    return core::Fail(core::ErrorCode::kLimit, "Noise: the record counter is used up");
  }
  const std::size_t before = out.size();
  const std::size_t wire = SealedSize(total);
  bool sealed = true;
  out.resize_and_overwrite(before + wire, [&](char* data, std::size_t) {
    auto* at = reinterpret_cast<std::uint8_t*>(data) + before;
    std::vector<std::string_view> parts;  // of one of several records
    std::size_t piece = 0;
    std::size_t offset = 0;
    for (std::size_t left = total; left > 0;) {
      const std::size_t length = std::min(left, kMaxPlaintext);
      parts.clear();
      for (std::size_t filled = 0; records > 1 && filled < length;) {
        const std::string_view part = pieces[piece].substr(offset, length - filled);
        if (!part.empty()) parts.push_back(part);
        filled += part.size();
        offset += part.size();
        if (offset == pieces[piece].size()) {
          ++piece;
          offset = 0;
        }
      }
      const std::span<const std::string_view> record = records > 1 ? parts : pieces;
      at[0] = kRecordType;
      core::StoreBe16(at + 1, static_cast<std::uint16_t>(length + aead::kTagSize));
      sealed = sealed && aead::Seal(send_.key, aead::CounterNonce(send_.counter), {}, record,
                                    core::MutableBytes(at + kHeader, length + aead::kTagSize));
      ++send_.counter;
      at += kHeader + length + aead::kTagSize;
      left -= length;
    }
    return sealed ? before + wire : before;
  });
  if (!sealed) return core::Fail(core::ErrorCode::kInternal, "Noise: sealing failed");
  return {};
}

}  // namespace ringscale::control::noise
