// Bytes to and from one trainer, without waiting: what a socket does, or an engine's own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "entrain/address.hpp"

namespace entrain {

/// How far a call came.
enum class Progress : std::uint8_t { done, pending, failed };

/// A connection's bytes. No call but `wait` waits, and `open` where the system looks up a name. TLS is
/// another class behind this interface: `entrain/openssl.hpp` has one, and an engine may bring its own.
class ByteStream {
 public:
  virtual ~ByteStream() = default;

  /// Connects, and shakes hands if it is TLS. Called again until it is no longer `pending`.
  virtual Progress open() = 0;

  /// Reads up to `most` bytes and sets `count`. `pending`: there is nothing now; `failed`: the
  /// other side has closed, or the connection is broken.
  virtual Progress read(std::uint8_t* into, std::size_t most, std::size_t& count) = 0;

  /// Writes some of the bytes and sets `count`.
  virtual Progress write(const std::uint8_t* from, std::size_t size, std::size_t& count) = 0;

  /// Waits until there is something to read (or, if `to_write`, until something can be written),
  /// or the time is over. Only blocking calls of the client use it.
  virtual void wait(bool to_write, int milliseconds) = 0;

  /// What failed, for people.
  virtual std::string why() const = 0;
};

/// Makes a stream to an address, which `ByteStream::open` then connects.
using OpenStream = std::function<std::unique_ptr<ByteStream>(const Address&)>;

}  // namespace entrain
