// Protobuf, as much of it as the trainer's few messages need: a writer and a reader of fields.
//
// Nothing here knows the messages. Source: https://protobuf.dev/programming-guides/encoding
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "entrain sends numbers as they lie in memory, so it needs a little-endian processor"
#endif

namespace entrain {

using Bytes = std::vector<std::uint8_t>;

/// Bytes that someone else owns.
struct View {
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;

  View() = default;
  View(const void* data_, std::size_t size_)
      : data(static_cast<const std::uint8_t*>(data_)), size(size_) {}
  View(const Bytes& bytes) : data(bytes.data()), size(bytes.size()) {}
  View(std::string_view text) : View(text.data(), text.size()) {}

  std::string_view text() const { return {reinterpret_cast<const char*>(data), size}; }
};

/// Makes room for more bytes, and some beyond: the next message may have a few more.
inline void make_room(Bytes& bytes, std::size_t more) {
  const std::size_t size = bytes.size() + more;
  if (bytes.capacity() < size) bytes.reserve(2 * size + 64);
}

namespace protobuf {

/// How a field's value is written; part of its tag.
enum class Type : std::uint8_t { varint = 0, fixed64 = 1, length = 2, fixed32 = 5 };

inline std::size_t varint_size(std::uint64_t value) {
  std::size_t size = 1;
  for (; value > 0x7f; value >>= 7) ++size;
  return size;
}

/// Bytes that a field of `size` bytes takes, with its tag and length. Empty fields are left out.
inline std::size_t field_size(std::size_t size) {
  return size == 0 ? 0 : 1 + varint_size(size) + size;
}

/// Bytes that a number takes with its tag. Zeros are left out.
inline std::size_t number_size(std::uint64_t value) {
  return value == 0 ? 0 : 1 + varint_size(value);
}

/// Appends fields to bytes. As proto3 has it, zeros and what is empty are left out. Fields have
/// numbers up to 15, so that a tag is one byte.
class Writer {
 public:
  explicit Writer(Bytes& out) : out_(out) {}

  void number(std::uint32_t field, std::uint64_t value) {
    if (value == 0) return;
    tag(field, Type::varint);
    varint(value);
  }

  void data(std::uint32_t field, View content) {
    if (content.size > 0) entry(field, content);
  }

  void text(std::uint32_t field, std::string_view content) { data(field, View(content)); }

  /// An entry of a repeated field, which may be empty.
  void entry(std::uint32_t field, View content) {
    head(field, content.size);
    append(content.data, content.size);
  }

  /// Tag and length of a message whose fields follow.
  void head(std::uint32_t field, std::size_t size) {
    tag(field, Type::length);
    varint(size);
  }

  /// A message written by `write(Writer&)`. Its bytes are moved once, so use `head` for long ones.
  template <typename Write>
  void message(std::uint32_t field, Write&& write) {
    tag(field, Type::length);
    const std::size_t begin = out_.size();
    write(*this);
    const std::size_t size = out_.size() - begin;
    out_.insert(out_.begin() + static_cast<std::ptrdiff_t>(begin), varint_size(size), 0);
    put_varint(out_.data() + begin, size);
  }

  /// A packed repeated field of floats or doubles.
  template <typename Number>
  void packed(std::uint32_t field, const std::vector<Number>& values) {
    data(field, View(values.data(), values.size() * sizeof(Number)));
  }

  /// A packed repeated field of unsigned integers.
  void packed_varints(std::uint32_t field, const std::vector<std::uint32_t>& values) {
    if (values.empty()) return;
    message(field, [&values](Writer& writer) {
      for (const std::uint32_t value : values) writer.varint(value);
    });
  }

 private:
  void tag(std::uint32_t field, Type type) {
    out_.push_back(static_cast<std::uint8_t>(field << 3 | static_cast<std::uint32_t>(type)));
  }

  void varint(std::uint64_t value) {
    std::uint8_t bytes[10];
    append(bytes, put_varint(bytes, value));
  }

  static std::size_t put_varint(std::uint8_t* at, std::uint64_t value) {
    std::size_t size = 0;
    for (; value > 0x7f; value >>= 7) at[size++] = static_cast<std::uint8_t>(value | 0x80);
    at[size++] = static_cast<std::uint8_t>(value);
    return size;
  }

  void append(const std::uint8_t* from, std::size_t size) {
    if (size == 0) return;
    const std::size_t begin = out_.size();
    make_room(out_, size);
    out_.resize(begin + size);
    std::memcpy(out_.data() + begin, from, size);
  }

  Bytes& out_;
};

/// Whether a text is UTF-8 (RFC 3629), as protobuf wants it: nothing overlong, no surrogates.
inline bool is_utf8(View text) {
  for (std::size_t i = 0; i < text.size;) {
    const std::uint8_t lead = text.data[i++];
    if (lead < 0x80) continue;
    const unsigned more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || text.size - i < more) return false;
    std::uint32_t letter = lead & (0x3fu >> more);
    for (unsigned k = 0; k < more; ++k, ++i) {
      if ((text.data[i] & 0xc0) != 0x80) return false;
      letter = letter << 6 | (text.data[i] & 0x3fu);
    }
    const std::uint32_t least = more == 1 ? 0x80 : more == 2 ? 0x800 : 0x10000;
    if (letter < least || letter > 0x10ffff || (letter >= 0xd800 && letter < 0xe000)) return false;
  }
  return true;
}

/// One field as it was read.
struct Field {
  std::uint64_t number = 0;
  Type type = Type::varint;
  std::uint64_t value = 0;  ///< of a number
  View content;             ///< of a text, of bytes or of a message

  bool is(std::uint64_t number_, Type type_) const { return number == number_ && type == type_; }
  float real() const {
    const auto bits = static_cast<std::uint32_t>(value);
    float number_ = 0.0f;
    std::memcpy(&number_, &bits, sizeof number_);
    return number_;
  }
};

/// Walks over a message's fields. What it gives points into the message.
class Reader {
 public:
  explicit Reader(View message) : at_(message.data), end_(message.data + message.size) {}

  /// The next field; false at the message's end, and where it is damaged.
  bool next(Field& field) {
    if (at_ == end_ || is_damaged_) return false;
    std::uint64_t tag = 0;
    is_damaged_ = !varint(tag) || tag >> 3 == 0 || tag >> 35 != 0;
    field.number = tag >> 3;
    field.type = static_cast<Type>(tag & 7);
    is_damaged_ = is_damaged_ || !content(field);
    return !is_damaged_;
  }

  bool is_damaged() const { return is_damaged_; }

 private:
  bool content(Field& field) {
    switch (field.type) {
      case Type::varint:
        return varint(field.value);
      case Type::fixed64:
        return fixed(field.value, 8);
      case Type::fixed32:
        return fixed(field.value, 4);
      case Type::length: {
        std::uint64_t size = 0;
        if (!varint(size) || size > static_cast<std::size_t>(end_ - at_)) return false;
        field.content = View(at_, static_cast<std::size_t>(size));
        at_ += size;
        return true;
      }
    }
    return false;
  }

  bool varint(std::uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 70 && at_ != end_; shift += 7) {
      const std::uint64_t byte = *at_++;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  bool fixed(std::uint64_t& value, std::size_t size) {
    if (static_cast<std::size_t>(end_ - at_) < size) return false;
    value = 0;
    std::memcpy(&value, at_, size);
    at_ += size;
    return true;
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  bool is_damaged_ = false;
};

}  // namespace protobuf
}  // namespace entrain
