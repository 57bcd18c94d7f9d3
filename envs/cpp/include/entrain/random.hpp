// Random numbers for names, masking keys and jitter. Each client has a generator of its own.
#pragma once

#include <cstdint>
#include <random>
#include <string>

namespace entrain {

/// SplitMix64 (Steele et al. 2014), begun from the system's randomness.
class Random {
 public:
  Random() {
    std::random_device device;
    state_ = static_cast<std::uint64_t>(device()) << 32 | device();
  }
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t mixed = state_ += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
  }

  /// Uniform in [low, high).
  double uniform(double low, double high) {
    return low + (high - low) * static_cast<double>(next() >> 11) * 0x1p-53;
  }

 private:
  std::uint64_t state_;
};

/// 32 hexadecimal digits that nobody else has: all of them from the system's randomness.
inline std::string unique_name() {
  std::random_device device;
  std::string name;
  for (int word = 0; word < 4; ++word) {
    const std::uint32_t bits = device();
    for (int shift = 28; shift >= 0; shift -= 4) name += "0123456789abcdef"[bits >> shift & 15];
  }
  return name;
}

}  // namespace entrain
