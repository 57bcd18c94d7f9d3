// What a simulator says once about its agents: what they observe and how they act.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace entrain {

/// How an observation's numbers are written.
enum class Dtype : std::uint8_t { float32 = 1, uint8 = 2 };

/// What an observation is to a policy, and so which network looks at it. Unspecified: an image or a
/// vector, by shape and dtype.
enum class Kind : std::uint8_t { unspecified = 0, vector = 1, image = 2, entities = 3, goal = 4 };

/// One named observation of a behaviour.
struct Observation {
  std::string name = {};
  std::vector<std::uint32_t> shape = {};  ///< of one agent's; empty: a single number
  Dtype dtype = Dtype::float32;
  Kind kind = Kind::unspecified;
  std::vector<double> low = {};  ///< smallest values: one, or one for each number; empty: not known
  std::vector<double> high = {};

  std::size_t size() const {
    std::size_t product = 1;
    for (const std::uint32_t length : shape) product *= length;
    return product;
  }
  std::size_t row_bytes() const { return dtype == Dtype::float32 ? 4 * size() : size(); }
};

/// How a behaviour acts: continuous dimensions, discrete branches, or both.
struct Action {
  std::vector<float> low = {};  ///< a value for each continuous dimension, -inf if unbounded
  std::vector<float> high = {};
  std::vector<std::uint32_t> branches = {};  ///< number of choices of each discrete branch

  std::size_t choices() const {
    std::size_t sum = 0;
    for (const std::uint32_t branch : branches) sum += branch;
    return sum;
  }
};

/// What acts for an agent whose action came too late: see real_time.hpp.
enum class Fallback : std::uint8_t { none = 0, last_action = 1, neutral = 2, controller = 3 };

/// One kind of agent. The trainer has a policy for each.
struct Behaviour {
  std::string name = {};
  std::vector<Observation> observations = {};
  Action action = {};
  std::uint32_t deadline_ms = 0;  ///< how long the program waits for actions; 0: as long as it takes
  Fallback fallback = Fallback::none;
};

}  // namespace entrain
