// Bytes, texts and numbers as words of a line.
//
// Texts are hexadecimal with a dot before them, so that an empty one is a word.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "entrain/protobuf.hpp"

namespace probe {

using entrain::Bytes;
using entrain::View;

inline std::string hex(View bytes) {
  std::string text = ".";
  for (std::size_t i = 0; i < bytes.size; ++i) {
    for (const unsigned nibble : {bytes.data[i] / 16u, bytes.data[i] % 16u}) {
      text += "0123456789abcdef"[nibble];
    }
  }
  return text;
}

inline std::string unhex(const std::string& text) {
  std::string bytes;
  for (std::size_t i = 1; i + 1 < text.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

/// One line's words, taken one after the other.
class Words {
 public:
  explicit Words(const std::string& line) : line_(line) {}
  bool next(std::string& word) { return static_cast<bool>(line_ >> word); }
  std::string word() {
    std::string word;
    line_ >> word;
    return word;
  }
  std::string text() { return unhex(word()); }
  std::uint64_t number() { return std::strtoull(word().c_str(), nullptr, 10); }
  std::int64_t integer() { return std::strtoll(word().c_str(), nullptr, 10); }
  float real() { return std::strtof(word().c_str(), nullptr); }
  template <typename Number>
  std::vector<Number> rest() {
    std::vector<Number> numbers;
    for (std::string word; next(word);) {
      numbers.push_back(static_cast<Number>(std::strtod(word.c_str(), nullptr)));
    }
    return numbers;
  }

 private:
  std::istringstream line_;
};

}  // namespace probe
