// A connection of bytes in memory, for tests of what a real socket does seldom.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "entrain/digest.hpp"
#include "entrain/websocket.hpp"

namespace probe {

/// What both ends of a FakeStream see.
struct Wire {
  std::string sent;      ///< by the client
  std::string to_read;   ///< by the client
  bool is_full = false;  ///< nothing more can be sent now
  bool is_cut = false;   ///< the other side has closed, once all is read
};

/// See the file.
class FakeStream final : public entrain::ByteStream {
 public:
  explicit FakeStream(Wire& wire) : wire_(wire) {}

  entrain::Progress open() override { return entrain::Progress::done; }

  entrain::Progress read(std::uint8_t* into, std::size_t most, std::size_t& count) override {
    count = std::min(most, wire_.to_read.size());
    std::copy_n(wire_.to_read.begin(), count, into);
    wire_.to_read.erase(0, count);
    if (count > 0) return entrain::Progress::done;
    return wire_.is_cut ? entrain::Progress::failed : entrain::Progress::pending;
  }

  entrain::Progress write(const std::uint8_t* from, std::size_t size, std::size_t& count) override {
    count = wire_.is_full ? 0 : size;
    wire_.sent.append(from, from + count);
    return wire_.is_full ? entrain::Progress::pending : entrain::Progress::done;
  }

  void wait(bool, int) override {}
  std::string why() const override { return "the other side closed the connection"; }

 private:
  Wire& wire_;
};

/// How a connection ends while a Step waits to be sent: "close", "cut", or "fault" for a frame that
/// breaks the rules; then what it says of that.
inline std::string ended_while_sending(const std::string& how) {
  Wire wire;
  entrain::Random random;
  entrain::WebSocket socket(
      std::make_unique<FakeStream>(wire),
      entrain::Upgrade(entrain::parse_address("ws://trainer:1"), "/simulate", "", random), 1 << 20,
      random);
  socket.advance();
  const std::string before_key = "Sec-WebSocket-Key: ";
  const std::string key = wire.sent.substr(wire.sent.find(before_key) + before_key.size(), 24);
  const auto digest = entrain::Sha1::of(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  wire.to_read =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Protocol: entrain.v1\r\nSec-WebSocket-Accept: " +
      entrain::base64(digest.data(), digest.size()) + "\r\n\r\n";
  socket.advance();
  if (!socket.is_open()) return "not open";
  wire.is_full = true;
  const entrain::Bytes step(1000);
  socket.send(entrain::View(step.data(), step.size()));
  if (how == "close") wire.to_read = "\x88\x02\x0f\xae";
  if (how == "fault") wire.to_read = "\x81\x01x";
  wire.is_cut = how == "cut";
  socket.advance();
  if (!socket.has_ended()) return "not ended";
  // A game may go on as before until it looks.
  socket.send(entrain::View(step.data(), step.size()));
  socket.wait(1000);
  socket.advance();
  const auto kind = static_cast<int>(socket.ended().kind);
  return std::to_string(kind) + " " + std::to_string(socket.ended().code);
}

}  // namespace probe
