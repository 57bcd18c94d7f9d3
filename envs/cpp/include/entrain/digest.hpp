// SHA-1 and base64, which WebSocket's handshake needs. Neither keeps a secret there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace entrain {

/// SHA-1 (RFC 3174) of a text of at most 119 bytes, which is two blocks; a handshake's has 60.
class Sha1 {
 public:
  using Digest = std::array<std::uint8_t, 20>;

  static constexpr std::size_t most = 119;

  static Digest of(std::string_view text) {
    std::array<std::uint8_t, 128> padded{};
    text = text.substr(0, most);
    for (std::size_t i = 0; i < text.size(); ++i) {
      padded[i] = static_cast<std::uint8_t>(text[i]);
    }
    padded[text.size()] = 0x80;
    const std::size_t blocks = text.size() < 56 ? 1 : 2;
    const std::uint64_t bits = 8 * text.size();
    for (std::size_t i = 0; i < 8; ++i) {
      padded[64 * blocks - 1 - i] = static_cast<std::uint8_t>(bits >> 8 * i);
    }
    Sha1 sha;
    for (std::size_t block = 0; block < blocks; ++block) sha.take(padded.data() + 64 * block);
    Digest digest{};
    for (std::size_t i = 0; i < 20; ++i) {
      digest[i] = static_cast<std::uint8_t>(sha.state_[i / 4] >> (24 - 8 * (i % 4)));
    }
    return digest;
  }

 private:
  static std::uint32_t rotated(std::uint32_t word, unsigned by) {
    return word << by | word >> (32 - by);
  }

  void take(const std::uint8_t* block) {
    std::array<std::uint32_t, 80> words{};
    for (std::size_t i = 0; i < 64; ++i) words[i / 4] = words[i / 4] << 8 | block[i];
    for (std::size_t i = 16; i < 80; ++i) {
      words[i] = rotated(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    }
    auto [a, b, c, d, e] = state_;
    for (std::size_t i = 0; i < 80; ++i) {
      const std::uint32_t mixed = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999u
                                  : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1u
                                  : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdcu
                                           : (b ^ c ^ d) + 0xca62c1d6u;
      const std::uint32_t next = rotated(a, 5) + mixed + e + words[i];
      e = d;
      d = c;
      c = rotated(b, 30);
      b = a;
      a = next;
    }
    state_ = {state_[0] + a, state_[1] + b, state_[2] + c, state_[3] + d, state_[4] + e};
  }

  std::array<std::uint32_t, 5> state_{0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u,
                                      0xc3d2e1f0u};
};

/// Base64 with padding (RFC 4648).
inline std::string base64(const std::uint8_t* data, std::size_t size) {
  static constexpr char digits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < size; i += 3) {
    const std::size_t count = size - i < 3 ? size - i : 3;
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < count ? data[i + k] : 0u);
    for (std::size_t k = 0; k < 4; ++k) {
      text += k <= count ? digits[bits >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

}  // namespace entrain
