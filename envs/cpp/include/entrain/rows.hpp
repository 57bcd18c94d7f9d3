// What happened to the agents of one behaviour since their last actions, as it is sent: row by row.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "entrain/protobuf.hpp"
#include "entrain/spec.hpp"

namespace entrain {

/// Where in an episode a row stands. `first` and `mid` rows need an action.
enum class StepType : std::uint8_t { first = 1, mid = 2, terminated = 3, truncated = 4 };

class Rows;

/// One agent at one moment. Fill it in before the rows are sent; what is left out is zero. Any number
/// of rows may be added meanwhile.
class Row {
 public:
  /// The numbers of the observation with that index, to be written before the next row is added, which
  /// may move them; null if it is uint8.
  float* floats(std::size_t observation = 0);
  /// The numbers of a uint8 observation, likewise.
  std::uint8_t* bytes(std::size_t observation);
  /// Sets all numbers of a float observation.
  Row& observe(const float* values, std::size_t count, std::size_t observation = 0);
  Row& observe(std::initializer_list<float> values, std::size_t observation = 0) {
    return observe(values.begin(), values.size(), observation);
  }
  /// Of an array or a vector of floats.
  template <typename Floats>
  Row& observe(const Floats& values, std::size_t observation = 0) {
    return observe(values.data(), values.size(), observation);
  }
  /// Forbids a choice of a discrete branch. One choice of each branch must be left.
  Row& forbid(std::size_t choice, std::size_t branch = 0);
  /// The group that the agent belongs to (0: none), and what that earned.
  Row& group(std::int64_t id, float reward);
  /// Says that the action before this row was not the trainer's: that came too late.
  Row& late();

 private:
  friend class Rows;
  Row(Rows& rows, std::size_t index) : rows_(&rows), index_(index) {}

  Rows* rows_;
  std::size_t index_;
};

/// The rows of one behaviour in one Step. Its memory is kept from Step to Step.
class Rows {
 public:
  explicit Rows(Behaviour behaviour) : behaviour_(std::move(behaviour)) {
    floats_.resize(behaviour_.observations.size());
    bytes_.resize(behaviour_.observations.size());
    for (const Observation& observation : behaviour_.observations) {
      lengths_.push_back(observation.size());
    }
  }

  /// An agent appears, or begins again.
  Row first(std::int64_t agent) { return add(agent, StepType::first, 0.0f); }
  /// Its action had an outcome, and it goes on.
  Row mid(std::int64_t agent, float reward) { return add(agent, StepType::mid, reward); }
  /// It died, won, or reached its goal. Fill in what it saw at the end, not after a new beginning.
  Row terminated(std::int64_t agent, float reward) {
    return add(agent, StepType::terminated, reward);
  }
  /// It was cut off, as by a time limit. Fill in what it saw at the end.
  Row truncated(std::int64_t agent, float reward) { return add(agent, StepType::truncated, reward); }

  Row add(std::int64_t agent, StepType type, float reward) {
    const std::size_t index = agents_.size();
    agents_.push_back(agent);
    types_.push_back(static_cast<std::uint8_t>(type));
    rewards_.push_back(reward);
    if (type <= StepType::mid) acting_.push_back(agent);
    for (std::size_t i = 0; i < lengths_.size(); ++i) {
      const bool is_float = behaviour_.observations[i].dtype == Dtype::float32;
      if (is_float) {
        floats_[i].resize(floats_[i].size() + lengths_[i]);
      } else {
        bytes_[i].resize(bytes_[i].size() + lengths_[i]);
      }
    }
    if (!mask_.empty()) mask_.resize(mask_.size() + behaviour_.action.choices(), 1);
    if (!groups_.empty()) {
      groups_.push_back(0);
      group_rewards_.push_back(0.0f);
    }
    if (!late_.empty()) late_.push_back(0);
    return Row(*this, index);
  }

  /// Appends a row of other rows of the same behaviour: what it observed, its mask and its group.
  void append(const Rows& from, std::size_t index, StepType type, float reward, float group_reward,
              bool is_late) {
    Row row = add(from.agents_[index], type, reward);
    for (std::size_t i = 0; i < lengths_.size(); ++i) {
      copy_row(from.floats_[i], index, floats_[i], size() - 1, lengths_[i]);
      copy_row(from.bytes_[i], index, bytes_[i], size() - 1, lengths_[i]);
    }
    const std::size_t choices = behaviour_.action.choices();
    if (!from.mask_.empty()) {
      if (mask_.empty()) mask_.resize(size() * choices, 1);
      copy_row(from.mask_, index, mask_, size() - 1, choices);
    }
    if (!from.groups_.empty()) row.group(from.groups_[index], group_reward);
    if (is_late) row.late();
  }

  /// A row that was added before.
  Row row(std::size_t index) { return Row(*this, index); }
  std::size_t size() const { return agents_.size(); }
  std::int64_t agent(std::size_t index) const { return agents_[index]; }
  StepType type(std::size_t index) const { return static_cast<StepType>(types_[index]); }
  float reward(std::size_t index) const { return rewards_[index]; }
  float group_reward(std::size_t index) const {
    return group_rewards_.empty() ? 0.0f : group_rewards_[index];
  }
  bool is_late(std::size_t index) const { return !late_.empty() && late_[index] != 0; }
  /// Whether a choice is allowed; choices of all branches are numbered in a row.
  bool allows(std::size_t index, std::size_t choice) const {
    return mask_.empty() || mask_[index * behaviour_.action.choices() + choice] != 0;
  }
  const Behaviour& behaviour() const { return behaviour_; }
  /// The agents whose rows need an action, in the order of their rows.
  const std::vector<std::int64_t>& acting() const { return acting_; }
  /// What the program got wrong in filling in rows; empty if nothing.
  const std::string& fault() const { return fault_; }

  void clear() {
    agents_.clear();
    types_.clear();
    rewards_.clear();
    acting_.clear();
    for (auto& column : floats_) column.clear();
    for (auto& column : bytes_) column.clear();
    mask_.clear();
    groups_.clear();
    group_rewards_.clear();
    late_.clear();
    fault_.clear();
  }

  /// For a trainer that knows no groups: what they earned is part of the agents' own rewards.
  void join_rewards() {
    for (std::size_t i = 0; i < group_rewards_.size(); ++i) rewards_[i] += group_rewards_[i];
    groups_.clear();
    group_rewards_.clear();
  }

  /// Length of the BehaviourStep.
  std::size_t wire_size() const {
    std::size_t size = 0;
    each_field([&size](std::uint32_t, View content, bool even_if_empty) {
      const bool is_written = content.size > 0 || even_if_empty;
      if (is_written) size += 1 + protobuf::varint_size(content.size) + content.size;
    });
    return size;
  }

  /// Appends the fields of the BehaviourStep.
  void write(protobuf::Writer& writer) const {
    each_field([&writer](std::uint32_t field, View content, bool even_if_empty) {
      even_if_empty ? writer.entry(field, content) : writer.data(field, content);
    });
  }

 private:
  friend class Row;

  template <typename Visit>
  void each_field(Visit&& visit) const {
    visit(1u, View(behaviour_.name), false);
    visit(2u, of(agents_), false);
    visit(3u, of(types_), false);
    visit(4u, of(rewards_), false);
    for (std::size_t i = 0; i < lengths_.size(); ++i) {
      const bool is_float = behaviour_.observations[i].dtype == Dtype::float32;
      visit(5u, is_float ? of(floats_[i]) : of(bytes_[i]), true);
    }
    visit(6u, of(mask_), false);
    visit(7u, of(groups_), false);
    visit(8u, of(group_rewards_), false);
    visit(9u, of(late_), false);
  }

  template <typename Number>
  static void copy_row(const std::vector<Number>& from, std::size_t index, std::vector<Number>& to,
                       std::size_t at, std::size_t length) {
    if (from.empty()) return;
    std::copy_n(from.data() + index * length, length, to.data() + at * length);
  }

  template <typename Number>
  static View of(const std::vector<Number>& column) {
    return {column.data(), column.size() * sizeof(Number)};
  }

  void note(std::string fault) {
    if (fault_.empty()) fault_ = std::move(fault);
  }

  Behaviour behaviour_;
  std::vector<std::size_t> lengths_;
  std::vector<std::int64_t> agents_;
  std::vector<std::uint8_t> types_;
  std::vector<float> rewards_;
  std::vector<std::int64_t> acting_;
  std::vector<std::vector<float>> floats_;
  std::vector<std::vector<std::uint8_t>> bytes_;
  std::vector<std::uint8_t> mask_;  // empty until a choice is forbidden
  std::vector<std::int64_t> groups_;  // empty until an agent has one
  std::vector<float> group_rewards_;
  std::vector<std::uint8_t> late_;  // empty until a row is
  std::string fault_;
};

inline float* Row::floats(std::size_t observation) {
  if (observation >= rows_->lengths_.size()) return nullptr;
  std::vector<float>& column = rows_->floats_[observation];
  return column.empty() ? nullptr : column.data() + index_ * rows_->lengths_[observation];
}

inline std::uint8_t* Row::bytes(std::size_t observation) {
  if (observation >= rows_->lengths_.size()) return nullptr;
  std::vector<std::uint8_t>& column = rows_->bytes_[observation];
  return column.empty() ? nullptr : column.data() + index_ * rows_->lengths_[observation];
}

inline Row& Row::observe(const float* values, std::size_t count, std::size_t observation) {
  float* to = floats(observation);
  if (to != nullptr && count == rows_->lengths_[observation]) {
    std::copy(values, values + count, to);
    return *this;
  }
  const std::string of = "observation " + std::to_string(observation) + " of '" +
                         rows_->behaviour().name + "', which ";
  rows_->note("observe was given " + std::to_string(count) + " floats for " + of +
              (to == nullptr ? "is no float32 observation of it"
                             : "has " + std::to_string(rows_->lengths_[observation])));
  return *this;
}

inline Row& Row::forbid(std::size_t choice, std::size_t branch) {
  const Action& action = rows_->behaviour().action;
  if (branch >= action.branches.size() || choice >= action.branches[branch]) {
    rows_->note("forbid was given choice " + std::to_string(choice) + " of branch " +
                std::to_string(branch) + ", which '" + rows_->behaviour().name + "' has not");
    return *this;
  }
  if (rows_->mask_.empty()) rows_->mask_.resize(rows_->size() * action.choices(), 1);
  std::size_t at = index_ * action.choices() + choice;
  for (std::size_t i = 0; i < branch; ++i) at += action.branches[i];
  rows_->mask_[at] = 0;
  return *this;
}

inline Row& Row::group(std::int64_t id, float reward) {
  if (rows_->groups_.empty()) {
    rows_->groups_.resize(rows_->size());
    rows_->group_rewards_.resize(rows_->size());
  }
  rows_->groups_[index_] = id;
  rows_->group_rewards_[index_] = reward;
  return *this;
}

inline Row& Row::late() {
  if (rows_->late_.empty()) rows_->late_.resize(rows_->size());
  rows_->late_[index_] = 1;
  return *this;
}

}  // namespace entrain
