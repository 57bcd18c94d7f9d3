// The actions that the trainer chose for one behaviour, in the order of the rows that need one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "entrain/messages.hpp"

namespace entrain {

/// See the file. Its memory is kept from Step to Step. Who asks for what there is not is given zeros,
/// and the session ends with words that say so.
class Actions {
 public:
  explicit Actions(const Behaviour& behaviour)
      : name_(behaviour.name),
        dimensions_(behaviour.action.low.size()),
        choices_(behaviour.action.branches),
        branches_(choices_.size()),
        no_numbers_((std::max)(dimensions_, least_zeros)),
        no_choices_((std::max)(branches_, least_zeros)) {}

  std::size_t size() const { return agents_.size(); }
  /// Whose action it is: the number that its row had.
  std::int64_t agent(std::size_t index) const {
    return has(index, 1, "agent") ? agents_[index] : 0;
  }
  /// A value for each continuous dimension, within its bounds.
  const float* continuous(std::size_t index) const {
    if (!has(index, dimensions_, "continuous")) return no_numbers_.data();
    return continuous_.data() + index * dimensions_;
  }
  /// A choice of each discrete branch, from 0 on.
  const std::int32_t* discrete(std::size_t index) const {
    if (!has(index, branches_, "discrete")) return no_choices_.data();
    return discrete_.data() + index * branches_;
  }
  /// What the program asked for that there is not; empty if nothing.
  const std::string& fault() const { return fault_; }
  /// How many updates the policy had seen.
  std::uint64_t policy_version() const { return policy_version_; }

  /// For whom the next actions will be.
  void expect(const std::vector<std::int64_t>& agents) { expected_ = agents; }

  /// Whether the part fits the agents and the behaviour; then it is copied. Else `misfit` says why.
  bool take(const ActPart& part) {
    const std::size_t count = expected_.size();
    if (part.continuous.size != count * dimensions_ * sizeof(float) ||
        part.discrete.size != count * branches_ * sizeof(std::int32_t)) {
      misfit_ = "have " + std::to_string(part.continuous.size + part.discrete.size) +
                " bytes, which is not what " + std::to_string(count) + " agents need";
      return false;
    }
    if (!has_its_choices(part.discrete)) return false;
    agents_ = expected_;
    continuous_.resize(count * dimensions_);
    discrete_.resize(count * branches_);
    copy(continuous_.data(), part.continuous);
    copy(discrete_.data(), part.discrete);
    policy_version_ = part.policy_version;
    return true;
  }
  /// What was wrong with the part that was not taken.
  const std::string& misfit() const { return misfit_; }

 private:
  /// Numbers to read for who takes a behaviour for another one.
  static constexpr std::size_t least_zeros = 64;

  bool has(std::size_t index, std::size_t numbers, const char* what) const {
    if (index < agents_.size() && numbers > 0) return true;
    if (fault_.empty()) note(index, numbers, what);
    return false;
  }

  void note(std::size_t index, std::size_t numbers, const char* what) const {
    fault_ = std::string(what) + "(" + std::to_string(index) + ") was asked for, and ";
    if (numbers == 0) {
      fault_ += "'" + name_ + "' has no " + what + " actions";
    } else {
      fault_ += std::to_string(agents_.size()) + " of the agents of '" + name_ +
                "' have one: those whose rows needed it, counted from 0 in their order";
    }
  }

  /// Whether each choice is one of its branch's: a program uses them as indices.
  bool has_its_choices(View discrete) {
    for (std::size_t i = 0; i * sizeof(std::int32_t) < discrete.size; ++i) {
      const std::size_t branch = i % branches_;
      std::int32_t choice = 0;
      std::memcpy(&choice, discrete.data + i * sizeof choice, sizeof choice);
      // As an unsigned number, a negative one is larger than any choice.
      if (static_cast<std::uint32_t>(choice) < choices_[branch]) continue;
      misfit_ = "have choice " + std::to_string(choice) + " of branch " + std::to_string(branch) +
                " for agent " + std::to_string(expected_[i / branches_]) + ", which is not one of 0 to " +
                std::to_string(choices_[branch] - 1);
      return false;
    }
    return true;
  }

  static void copy(void* to, View from) {
    if (from.size > 0) std::memcpy(to, from.data, from.size);
  }

  std::string name_;
  std::size_t dimensions_;
  std::vector<std::uint32_t> choices_;  // how many each branch has
  std::size_t branches_;
  std::vector<float> no_numbers_;
  std::vector<std::int32_t> no_choices_;
  mutable std::string fault_;  // of a call that reads, too
  std::string misfit_;
  std::vector<std::int64_t> expected_;
  std::vector<std::int64_t> agents_;
  std::vector<float> continuous_;
  std::vector<std::int32_t> discrete_;
  std::uint64_t policy_version_ = 0;
};

}  // namespace entrain
