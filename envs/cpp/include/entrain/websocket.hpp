// One WebSocket connection to a trainer: binary messages out and in, never waiting.
//
// It does not know what the messages say, or when to dial again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "entrain/byte_stream.hpp"
#include "entrain/frames.hpp"
#include "entrain/random.hpp"
#include "entrain/upgrade.hpp"

namespace entrain {

/// How a connection ended.
struct Ended {
  /// `too_long`: the trainer sent a message that is longer than this end takes.
  enum class Kind : std::uint8_t { not_yet, broken, answered_http, closed, too_long };

  Kind kind = Kind::not_yet;
  int status = 0;                      ///< HTTP's, of an answer instead of an upgrade
  unsigned code = close_code::none;    ///< of a close frame that came, or that a fault was answered by
  std::string words = {};              ///< for people
};

/// See the file. `advance` does all the work.
class WebSocket {
 public:
  WebSocket(std::unique_ptr<ByteStream> stream, Upgrade upgrade, std::size_t max_message_bytes,
            Random& random)
      : stream_(std::move(stream)),
        upgrade_(std::move(upgrade)),
        reader_(max_message_bytes),
        random_(random) {
    if (stream_ == nullptr) end({Ended::Kind::broken, 0, close_code::none, "no stream was made"});
  }

  /// Sends what waits, and reads up to the end of one message.
  void advance() {
    if (phase_ == Phase::opening) open();
    if (phase_ == Phase::opening || phase_ == Phase::ended) return;
    flush();
    while (phase_ != Phase::ended && !has_message_ && (input_.size > 0 || fill())) {
      phase_ == Phase::upgrading ? take_answer() : take_frame();
    }
    flush();
  }

  /// Waits until `advance` can do something, or the time is over.
  void wait(int milliseconds) {
    if (phase_ == Phase::ended || (input_.size > 0 && !has_message_)) return;
    stream_->wait(phase_ == Phase::opening || sent_ < outbox_.size(), milliseconds);
  }

  bool is_open() const { return phase_ == Phase::open; }
  bool has_ended() const { return phase_ == Phase::ended; }
  const Ended& ended() const { return ended_; }

  bool has_message() const { return has_message_; }
  /// Valid until `drop_message`.
  View message() const { return reader_.message(); }
  void drop_message() { has_message_ = false; }

  /// Sends a message, as far as that is possible now; `advance` sends the rest.
  void send(View message) {
    if (phase_ != Phase::open) return;
    put(Opcode::binary, message);
    flush();
  }

  /// Sends a close frame; the connection ends when the other side answers it.
  void close(unsigned code) {
    if (phase_ != Phase::open) return;
    put_close(code);
    flush();
    if (phase_ == Phase::open) phase_ = Phase::closing;
  }

 private:
  enum class Phase : std::uint8_t { opening, upgrading, open, closing, ended };

  /// Pings are not answered while so much waits to be sent: the other side reads nothing.
  static constexpr std::size_t most_waiting_for_pong = 65536;

  void open() {
    const Progress progress = stream_->open();
    if (progress == Progress::failed) broken(stream_->why());
    if (progress != Progress::done) return;
    phase_ = Phase::upgrading;
    const View request(upgrade_.request());
    outbox_.assign(request.data, request.data + request.size);
  }

  void flush() {
    while (sent_ < outbox_.size()) {
      std::size_t count = 0;
      const Progress progress =
          stream_->write(outbox_.data() + sent_, outbox_.size() - sent_, count);
      if (progress == Progress::pending) return;
      // What the other side said before it closed can still be read, and says why.
      if (progress == Progress::failed) break;
      sent_ += count;
    }
    outbox_.clear();
    sent_ = 0;
  }

  bool fill() {
    if (buffer_.empty()) buffer_.resize(65536);
    std::size_t count = 0;
    const Progress progress = stream_->read(buffer_.data(), buffer_.size(), count);
    if (progress == Progress::failed) broken(stream_->why());
    input_ = View(buffer_.data(), count);
    return progress == Progress::done && count > 0;
  }

  void take_answer() {
    const Upgrade::Standing standing = upgrade_.take(input_);
    if (standing == Upgrade::Standing::accepted) phase_ = Phase::open;
    if (standing != Upgrade::Standing::refused) return;
    end({Ended::Kind::answered_http, upgrade_.status(), close_code::none, upgrade_.words()});
  }

  void take_frame() {
    switch (reader_.take(input_)) {
      case FrameReader::Found::nothing:
        return;
      case FrameReader::Found::message:
        has_message_ = phase_ == Phase::open;
        return;
      case FrameReader::Found::ping:
        if (outbox_.size() - sent_ < most_waiting_for_pong) put(Opcode::pong, reader_.control());
        return;
      case FrameReader::Found::close:
        return take_close(reader_.control());
      case FrameReader::Found::fault:
        return take_fault();
    }
  }

  void take_fault() {
    const unsigned code = reader_.fault_code();
    put_close(code);
    flush();
    // A frame that breaks the rules was damaged on the way: on another connection it may be whole.
    end({code == close_code::too_long ? Ended::Kind::too_long : Ended::Kind::broken, 0, code,
         std::string("the trainer sent ") + reader_.fault()});
  }

  void take_close(View content) {
    Ended ended{Ended::Kind::closed, 0, close_code::none, {}};
    if (content.size >= 2) {
      ended.code = static_cast<unsigned>(content.data[0] << 8 | content.data[1]);
      ended.words = std::string(content.text().substr(2));
    }
    if (phase_ == Phase::open) put_close(close_code::normal);
    flush();
    end(std::move(ended));
  }

  void put(Opcode opcode, View payload) {
    append_frame(outbox_, opcode, payload, static_cast<std::uint32_t>(random_.next()));
  }

  void put_close(unsigned code) {
    const std::uint8_t content[] = {static_cast<std::uint8_t>(code >> 8),
                                    static_cast<std::uint8_t>(code)};
    put(Opcode::close, View(content, 2));
  }

  void broken(std::string words) {
    end({Ended::Kind::broken, 0, close_code::none, std::move(words)});
  }

  void end(Ended ended) {
    phase_ = Phase::ended;
    ended_ = std::move(ended);
    stream_.reset();
    // What was not sent has nowhere to go.
    outbox_.clear();
    sent_ = 0;
  }

  std::unique_ptr<ByteStream> stream_;
  Upgrade upgrade_;
  FrameReader reader_;
  Random& random_;
  Phase phase_ = Phase::opening;
  Ended ended_;
  Bytes outbox_;
  std::size_t sent_ = 0;
  Bytes buffer_;
  View input_;
  bool has_message_ = false;
};

}  // namespace entrain
