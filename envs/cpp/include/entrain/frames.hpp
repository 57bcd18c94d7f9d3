// WebSocket's frames (RFC 6455): written with a mask, and read as they come, bounded.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "entrain/protobuf.hpp"

namespace entrain {

enum class Opcode : std::uint8_t {
  continuation = 0,
  text = 1,
  binary = 2,
  close = 8,
  ping = 9,
  pong = 10
};

/// Numbers of a close frame.
namespace close_code {
constexpr unsigned normal = 1000;
constexpr unsigned protocol = 1002;
constexpr unsigned not_binary = 1003;
constexpr unsigned none = 1005;
constexpr unsigned too_many = 1008;
constexpr unsigned too_long = 1009;
constexpr unsigned refusal = 4000;  ///< and above: 4000 + gRPC's number
}  // namespace close_code

/// Appends a whole message as one frame. `key` is new for each frame.
inline void append_frame(Bytes& out, Opcode opcode, View payload, std::uint32_t key) {
  std::array<std::uint8_t, 14> head{};
  std::size_t size = 2;
  head[0] = static_cast<std::uint8_t>(0x80 | static_cast<unsigned>(opcode));
  const auto put_length = [&](std::uint8_t mark, std::size_t count) {
    head[1] = static_cast<std::uint8_t>(0x80 | mark);
    for (std::size_t i = 0; i < count; ++i) {
      head[size++] = static_cast<std::uint8_t>(std::uint64_t{payload.size} >> 8 * (count - 1 - i));
    }
  };
  if (payload.size < 126) {
    put_length(static_cast<std::uint8_t>(payload.size), 0);
  } else if (payload.size < 65536) {
    put_length(126, 2);
  } else {
    put_length(127, 8);
  }
  std::memcpy(head.data() + size, &key, 4);
  size += 4;
  const std::size_t begin = out.size();
  make_room(out, size + payload.size);
  out.resize(begin + size + payload.size);
  std::memcpy(out.data() + begin, head.data(), size);
  std::uint8_t* to = out.data() + begin + size;
  const std::uint64_t twice = std::uint64_t{key} << 32 | key;
  std::size_t at = 0;
  for (; at + 8 <= payload.size; at += 8) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, payload.data + at, 8);
    eight ^= twice;
    std::memcpy(to + at, &eight, 8);
  }
  for (; at < payload.size; ++at) {
    to[at] = static_cast<std::uint8_t>(payload.data[at] ^ key >> 8 * (at % 4));
  }
}

/// Takes bytes as they come and puts messages together. Holds one message at a time.
class FrameReader {
 public:
  enum class Found : std::uint8_t { nothing, message, ping, close, fault };

  explicit FrameReader(std::size_t max_message_bytes) : most_(max_message_bytes) {}

  /// Takes from `bytes` what it needs, up to the end of one frame that means something.
  Found take(View& bytes) {
    while (bytes.size > 0) {
      if (!has_head_) {
        if (!take_head(bytes)) continue;
        const Found found = begin_frame();
        if (found != Found::nothing) return found;
        if (left_ > 0) continue;
      } else {
        take_payload(bytes);
      }
      if (left_ == 0) {
        const Found found = end_frame();
        if (found != Found::nothing) return found;
      }
    }
    return Found::nothing;
  }

  /// The message that was found, until `take` is called again.
  View message() const { return View(message_); }
  /// What a ping or a close frame carried.
  View control() const { return {control_.data(), control_size_}; }
  /// What is wrong with a frame, and the code to close with.
  unsigned fault_code() const { return fault_code_; }
  const char* fault() const { return fault_; }

 private:
  /// Collects a frame's first bytes; true once they are all there.
  bool take_head(View& bytes) {
    while (bytes.size > 0 && head_size_ < wanted_head()) {
      head_[head_size_++] = *bytes.data++;
      --bytes.size;
    }
    return has_head_ = head_size_ == wanted_head();
  }

  std::size_t wanted_head() const {
    if (head_size_ < 2) return 2;
    const unsigned length = head_[1] & 0x7f;
    return length == 126 ? 4 : length == 127 ? 10 : 2;
  }

  Found begin_frame() {
    opcode_ = static_cast<Opcode>(head_[0] & 0x0f);
    is_last_ = (head_[0] & 0x80) != 0;
    std::uint64_t length = head_[1] & 0x7f;
    if (head_size_ > 2) length = 0;
    for (std::size_t i = 2; i < head_size_; ++i) length = length << 8 | head_[i];
    left_ = length;
    if ((head_[0] & 0x70) != 0) return failed(close_code::protocol, "a frame of an extension");
    if ((head_[1] & 0x80) != 0) return failed(close_code::protocol, "a masked frame");
    return is_control() ? begin_control(length) : begin_part(length);
  }

  bool is_control() const { return static_cast<unsigned>(opcode_) >= 8; }

  Found begin_control(std::uint64_t length) {
    control_size_ = 0;
    if (opcode_ > Opcode::pong) return failed(close_code::protocol, "a frame of an unknown kind");
    if (!is_last_ || length > control_.size()) {
      return failed(close_code::protocol, "a ping or close in parts or too long");
    }
    return Found::nothing;
  }

  Found begin_part(std::uint64_t length) {
    if (opcode_ == Opcode::text) return failed(close_code::not_binary, "a text frame");
    if (opcode_ > Opcode::binary || is_inside_ != (opcode_ == Opcode::continuation)) {
      return failed(close_code::protocol, "a frame out of order");
    }
    if (!is_inside_) message_.clear();
    if (length > most_ - message_.size()) {
      return failed(close_code::too_long, "a message longer than max_message_bytes");
    }
    is_inside_ = true;
    return Found::nothing;
  }

  void take_payload(View& bytes) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size));
    if (is_control()) {
      std::memcpy(control_.data() + control_size_, bytes.data, count);
      control_size_ += count;
    } else {
      // The memory grows with what has arrived, not with what a head promises.
      make_room(message_, count);
      message_.insert(message_.end(), bytes.data, bytes.data + count);
    }
    bytes.data += count;
    bytes.size -= count;
    left_ -= count;
  }

  Found end_frame() {
    has_head_ = false;
    head_size_ = 0;
    if (opcode_ == Opcode::ping) return Found::ping;
    if (opcode_ == Opcode::close) return Found::close;
    if (opcode_ == Opcode::pong || !is_last_) return Found::nothing;
    is_inside_ = false;
    return Found::message;
  }

  Found failed(unsigned code, const char* what) {
    fault_code_ = code;
    fault_ = what;
    return Found::fault;
  }

  std::size_t most_;
  Bytes message_;
  std::array<std::uint8_t, 125> control_{};
  std::size_t control_size_ = 0;
  std::array<std::uint8_t, 10> head_{};
  std::size_t head_size_ = 0;
  std::uint64_t left_ = 0;
  Opcode opcode_ = Opcode::binary;
  bool has_head_ = false;
  bool is_last_ = false;
  bool is_inside_ = false;
  unsigned fault_code_ = 0;
  const char* fault_ = "";
};

}  // namespace entrain
