// WebSocket's handshake (RFC 6455, section 4): what is asked for, and whether the answer fits.
//
// The answer is read into memory of a fixed size.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "entrain/address.hpp"
#include "entrain/digest.hpp"
#include "entrain/protobuf.hpp"
#include "entrain/random.hpp"

namespace entrain {

constexpr std::string_view subprotocol = "entrain.v1";

/// One handshake. Give it bytes until `take` says that it is over.
class Upgrade {
 public:
  enum class Standing : std::uint8_t { more, accepted, refused };

  Upgrade(const Address& address, std::string_view path, const std::string& token, Random& random) {
    std::array<std::uint8_t, 16> nonce{};
    for (std::size_t i = 0; i < nonce.size(); i += 8) {
      const std::uint64_t bits = random.next();
      std::memcpy(nonce.data() + i, &bits, 8);
    }
    const std::string key = base64(nonce.data(), nonce.size());
    // The text that RFC 6455 has the server add to the key.
    const auto digest = Sha1::of(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    expected_ = base64(digest.data(), digest.size());
    request_ = "GET " + address.prefix + std::string(path) + " HTTP/1.1\r\nHost: " +
               address.authority() + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key +
               "\r\nSec-WebSocket-Protocol: " + std::string(subprotocol) + "\r\n" +
               (token.empty() ? "" : "Authorization: Bearer " + token + "\r\n") + "\r\n";
  }

  const std::string& request() const { return request_; }

  /// Takes bytes of the answer, and leaves those behind it in `bytes`.
  Standing take(View& bytes) {
    while (bytes.size > 0 && !has_head_) {
      if (size_ == answer_.size()) return refused("the answer's head is longer than 8 KiB");
      answer_[size_++] = static_cast<char>(*bytes.data++);
      --bytes.size;
      if (size_ == 5 && text() != "HTTP/") return not_http();
      has_head_ = text().size() >= 4 && text().substr(size_ - 4) == "\r\n\r\n";
    }
    if (!has_head_) return Standing::more;
    if (status_ == 0) {
      status_ = read_status();
      if (status_ < 0) return not_http();
      if (status_ == 101) return judged();
      body_ = size_;
      wanted_ = body_length();
    }
    while (bytes.size > 0 && size_ < answer_.size() && size_ - body_ < wanted_) {
      answer_[size_++] = static_cast<char>(*bytes.data++);
      --bytes.size;
    }
    if (size_ - body_ < wanted_ && size_ < answer_.size()) return Standing::more;
    const std::string body = printable(text().substr(body_));
    return refused("HTTP " + std::to_string(status_) + (body.empty() ? "" : ": " + body));
  }

  /// HTTP's number; -1 if the answer is no HTTP, 0 if it is not complete.
  int status() const { return status_; }
  /// Why it was refused.
  const std::string& words() const { return words_; }

 private:
  std::string_view text() const { return {answer_.data(), size_}; }

  Standing refused(std::string words) {
    words_ = std::move(words);
    return Standing::refused;
  }

  Standing not_http() {
    status_ = -1;
    return refused(
        "what answers there does not speak HTTP/1.1; give the address that the trainer's option "
        "server.websocket names (not that of gRPC), as ws:// without TLS and wss:// with it");
  }

  int read_status() const {
    const std::string_view line = text();
    if (line.size() < 12 || line.substr(0, 7) != "HTTP/1.") return -1;
    int status = 0;
    for (const char digit : line.substr(9, 3)) {
      if (digit < '0' || digit > '9') return -1;
      status = 10 * status + (digit - '0');
    }
    return status;
  }

  Standing judged() {
    if (!same(header("upgrade"), "websocket")) {
      return refused("HTTP 101 without 'Upgrade: websocket'; is there a proxy between?");
    }
    if (header("sec-websocket-accept") != expected_) {
      return refused("HTTP 101 with a Sec-WebSocket-Accept that does not fit the key");
    }
    if (header("sec-websocket-protocol") != subprotocol) {
      return refused("HTTP 101 without the subprotocol entrain.v1; what answers is no trainer");
    }
    if (!header("sec-websocket-extensions").empty()) {
      return refused("HTTP 101 with an extension that was not asked for");
    }
    return Standing::accepted;
  }

  std::size_t body_length() const {
    return static_cast<std::size_t>(
        std::strtoul(std::string(header("content-length")).c_str(), nullptr, 10));
  }

  /// A header's value; empty if there is none. `name` is in small letters.
  std::string_view header(std::string_view name) const {
    std::string_view rest = text();
    while (true) {
      const std::size_t end = rest.find("\r\n");
      if (end == std::string_view::npos || end == 0) return {};
      const std::string_view line = rest.substr(0, end);
      rest.remove_prefix(end + 2);
      if (line.size() <= name.size() || line[name.size()] != ':') continue;
      if (!same(line.substr(0, name.size()), name)) continue;
      return trimmed(line.substr(name.size() + 1));
    }
  }

  static std::string_view trimmed(std::string_view value) {
    const std::size_t begin = value.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return {};
    return value.substr(begin, value.find_last_not_of(" \t") - begin + 1);
  }

  static bool same(std::string_view value, std::string_view in_small_letters) {
    if (value.size() != in_small_letters.size()) return false;
    for (std::size_t i = 0; i < value.size(); ++i) {
      const char letter = value[i];
      const bool is_capital = letter >= 'A' && letter <= 'Z';
      if ((is_capital ? static_cast<char>(letter + 32) : letter) != in_small_letters[i]) {
        return false;
      }
    }
    return true;
  }

  static std::string printable(std::string_view from) {
    std::string line;
    for (const char letter : from.substr(0, 500)) {
      line += letter >= ' ' && letter != '\x7f' ? letter : ' ';
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    return line;
  }

  std::string request_;
  std::string expected_;
  std::string words_;
  std::array<char, 8192> answer_{};
  std::size_t size_ = 0;
  std::size_t body_ = 0;
  std::size_t wanted_ = 0;
  int status_ = 0;
  bool has_head_ = false;
};

}  // namespace entrain
