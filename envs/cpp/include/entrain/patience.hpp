// How long and how often to dial a trainer that does not answer.
#pragma once

#include <algorithm>

#include "entrain/random.hpp"

namespace entrain {

/// Waits that double, with jitter, up to a total time. The first try never waits. Times are seconds
/// of one clock, which is passed in.
class Patience {
 public:
  /// Begins anew, unless it has begun.
  void begin(double now_s, double total_s) {
    if (has_begun_) return;
    has_begun_ = true;
    total_s_ = total_s;
    deadline_s_ = now_s + total_s;
    delay_s_ = 0.0;
  }

  void end() { has_begun_ = false; }

  double total_s() const { return total_s_; }

  /// When to try next; false if the time is over.
  bool next(double now_s, Random& random, double& due_s) {
    due_s = now_s;
    if (delay_s_ > 0.0) {
      if (now_s >= deadline_s_) return false;
      // Jitter, so that simulators that lost a trainer together do not dial it together.
      due_s = (std::min)(deadline_s_, now_s + delay_s_ * random.uniform(0.5, 1.5));
    }
    delay_s_ = (std::min)(longest_s, (std::max)(first_s, 2.0 * delay_s_));
    return true;
  }

 private:
  static constexpr double first_s = 0.1;
  static constexpr double longest_s = 2.0;

  bool has_begun_ = false;
  double total_s_ = 0.0;
  double deadline_s_ = 0.0;
  double delay_s_ = 0.0;
};

}  // namespace entrain
