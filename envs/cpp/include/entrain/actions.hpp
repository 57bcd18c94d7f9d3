// The actions that the trainer chose for one behaviour, in the order of the rows that need one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "entrain/messages.hpp"

namespace entrain {

/// See the file. Its memory is kept from Step to Step.
class Actions {
 public:
  explicit Actions(const Action& spec)
      : dimensions_(spec.low.size()), branches_(spec.branches.size()) {}

  std::size_t size() const { return agents_.size(); }
  /// Whose action it is: the number that its row had.
  std::int64_t agent(std::size_t index) const { return agents_[index]; }
  /// A value for each continuous dimension, within its bounds.
  const float* continuous(std::size_t index) const {
    return continuous_.data() + index * dimensions_;
  }
  /// A choice of each discrete branch.
  const std::int32_t* discrete(std::size_t index) const {
    return discrete_.data() + index * branches_;
  }
  /// How many updates the policy had seen.
  std::uint64_t policy_version() const { return policy_version_; }

  /// For whom the next actions will be.
  void expect(const std::vector<std::int64_t>& agents) { expected_ = agents; }
  std::size_t expected() const { return expected_.size(); }

  /// Whether the part has the bytes that it should; then they are copied.
  bool take(const ActPart& part) {
    const std::size_t count = expected_.size();
    if (part.continuous.size != count * dimensions_ * sizeof(float)) return false;
    if (part.discrete.size != count * branches_ * sizeof(std::int32_t)) return false;
    agents_ = expected_;
    continuous_.resize(count * dimensions_);
    discrete_.resize(count * branches_);
    copy(continuous_.data(), part.continuous);
    copy(discrete_.data(), part.discrete);
    policy_version_ = part.policy_version;
    return true;
  }

 private:
  static void copy(void* to, View from) {
    if (from.size > 0) std::memcpy(to, from.data, from.size);
  }

  std::size_t dimensions_;
  std::size_t branches_;
  std::vector<std::int64_t> expected_;
  std::vector<std::int64_t> agents_;
  std::vector<float> continuous_;
  std::vector<std::int32_t> discrete_;
  std::uint64_t policy_version_ = 0;
};

}  // namespace entrain
