// Rows of a world that did not wait: those of several steps become one for each agent.
//
// The trainer gave each agent an action, which came too late; a fallback acted, perhaps in several
// steps. What the trainer is told in the end is one outcome of its action, with the rewards of all of
// them, and the newest observation. If the episode ended, its end is that outcome, and the next one
// begins, for the trainer, with the newest observation.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "entrain/rows.hpp"
#include "entrain/spec.hpp"

namespace entrain {

/// The rows of one behaviour that are to be sent, at most two for each agent. Keeps its memory.
class LateRows {
 public:
  explicit LateRows(const Behaviour& behaviour) : kept_(behaviour), other_(behaviour) {}

  bool is_empty() const { return kept_.size() == 0; }
  void clear() { kept_.clear(); }

  /// The rows of the next step, as the game gives them. `too_late`: the agents, ascending, whose action
  /// came too late, if it led to these rows. An agent that has rows here already stays as late as those
  /// are: what follows them belongs to the same action.
  void add(const Rows& rows, const std::vector<std::int64_t>& too_late) {
    const std::size_t before = kept_.size();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      kept_.append(rows, i, rows.type(i), rows.reward(i), rows.group_reward(i), false);
    }
    plan(before, too_late);
    other_.clear();
    is_due_.clear();
    for (std::size_t i = 0; i < kept_.size(); ++i) {
      const Plan& plan = plans_[i];
      if (!plan.stays) continue;
      other_.append(kept_, i, plan.type, plan.reward, plan.group_reward, plan.is_late);
      // A row that was here before and is still the newest waits: its agent has acted on it.
      is_due_.push_back(i >= before || plan.type > StepType::mid);
    }
    std::swap(kept_, other_);
  }

  /// Appends the rows to send now; the others stay.
  void take(Rows& into) {
    other_.clear();
    for (std::size_t i = 0; i < kept_.size(); ++i) {
      Rows& to = is_due_[i] != 0 ? into : other_;
      to.append(kept_, i, kept_.type(i), kept_.reward(i), kept_.group_reward(i), kept_.is_late(i));
    }
    std::swap(kept_, other_);
    is_due_.assign(kept_.size(), 0);
  }

 private:
  /// What becomes of a row.
  struct Plan {
    bool stays = false;
    bool is_late = false;
    StepType type = StepType::mid;
    float reward = 0.0f;
    float group_reward = 0.0f;
  };

  void plan(std::size_t before, const std::vector<std::int64_t>& too_late) {
    plans_.assign(kept_.size(), {});
    order_.clear();
    for (std::size_t i = 0; i < kept_.size(); ++i) order_.emplace_back(kept_.agent(i), i);
    std::sort(order_.begin(), order_.end());
    for (std::size_t begin = 0, end = 0; begin < order_.size(); begin = end) {
      while (end < order_.size() && order_[end].first == order_[begin].first) ++end;
      const auto [agent, row] = order_[begin];
      const bool is_late = row < before ? kept_.is_late(row)
                                        : std::binary_search(too_late.begin(), too_late.end(), agent);
      plan_agent(begin, end, is_late);
    }
  }

  /// One agent's rows, in the order of time.
  void plan_agent(std::size_t begin, std::size_t end, bool is_late) {
    // The life in which the trainer has given an action: until its end, if it did not begin here.
    bool is_known = kept_.type(order_[begin].second) != StepType::first;
    float reward = 0.0f, group_reward = 0.0f;
    for (std::size_t at = begin; at < end; ++at) {
      const std::size_t row = order_[at].second;
      const StepType type = kept_.type(row);
      const bool is_end = type > StepType::mid;
      if (is_known) {
        reward += kept_.reward(row);
        group_reward += kept_.group_reward(row);
      }
      Plan& plan = plans_[row];
      plan.stays = is_end ? is_known : at + 1 == end;
      plan.is_late = is_known && is_late;
      plan.type = is_end ? type : is_known ? StepType::mid : StepType::first;
      plan.reward = is_known ? reward : 0.0f;
      plan.group_reward = is_known ? group_reward : 0.0f;
      if (is_end) is_known = false;
    }
  }

  Rows kept_;
  Rows other_;
  std::vector<std::uint8_t> is_due_;
  std::vector<Plan> plans_;
  std::vector<std::pair<std::int64_t, std::size_t>> order_;  // agent, row
};

}  // namespace entrain
