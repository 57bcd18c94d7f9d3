// What acts where the trainer's actions came too late: the last action again, or a neutral one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "entrain/actions.hpp"
#include "entrain/rows.hpp"
#include "entrain/spec.hpp"

namespace entrain {

/// The action that each agent of a behaviour took last in its episode, whether the trainer's or the
/// fallback's. Never one that came too late: such an action decides nothing, so that it need not be
/// learned from. Keeps its memory from Step to Step.
class LastActions {
 public:
  explicit LastActions(const Action& spec)
      : dimensions_(spec.low.size()), branches_(spec.branches.size()) {}

  void clear() {
    slots_.clear();
    free_.clear();
    num_slots_ = 0;
  }

  /// These actions were taken.
  void note(const Actions& actions) {
    for (std::size_t i = 0; i < actions.size(); ++i) {
      const std::size_t slot = slot_of(actions.agent(i));
      if (dimensions_ > 0) {
        std::copy_n(actions.continuous(i), dimensions_, continuous_.data() + slot * dimensions_);
      }
      if (branches_ > 0) {
        std::copy_n(actions.discrete(i), branches_, discrete_.data() + slot * branches_);
      }
    }
  }

  /// Its episode is over.
  void forget(std::int64_t agent) {
    const auto found = find(agent);
    if (found == slots_.end() || found->first != agent) return;
    free_.push_back(found->second);
    slots_.erase(found);
  }

  /// Whether there is one, which `continuous` and `discrete` then point to.
  bool look(std::int64_t agent, const float*& continuous, const std::int32_t*& discrete) {
    const auto found = find(agent);
    if (found == slots_.end() || found->first != agent) return false;
    continuous = continuous_.data() + found->second * dimensions_;
    discrete = discrete_.data() + found->second * branches_;
    return true;
  }

 private:
  using Slots = std::vector<std::pair<std::int64_t, std::size_t>>;  // agents, ascending

  Slots::iterator find(std::int64_t agent) {
    return std::lower_bound(slots_.begin(), slots_.end(), std::make_pair(agent, std::size_t{0}));
  }

  std::size_t slot_of(std::int64_t agent) {
    const auto found = find(agent);
    if (found != slots_.end() && found->first == agent) return found->second;
    std::size_t slot = num_slots_;
    if (free_.empty()) {
      ++num_slots_;
      continuous_.resize(num_slots_ * dimensions_);
      discrete_.resize(num_slots_ * branches_);
    } else {
      slot = free_.back();
      free_.pop_back();
    }
    slots_.insert(found, {agent, slot});
    return slot;
  }

  std::size_t dimensions_;
  std::size_t branches_;
  Slots slots_;
  std::vector<std::size_t> free_;
  std::size_t num_slots_ = 0;
  std::vector<float> continuous_;
  std::vector<std::int32_t> discrete_;
};

/// Acts for the agents of one behaviour by its fallback. With a controller of the program's own, or
/// without a deadline, these are the neutral actions.
class FallbackActions {
 public:
  explicit FallbackActions(const Behaviour& behaviour)
      : spec_(behaviour.action),
        repeats_(behaviour.fallback == Fallback::last_action),
        last_(behaviour.action),
        actions_(behaviour) {}

  void clear() { last_.clear(); }

  /// The rows that the next actions are for.
  void see(const Rows& rows) {
    agents_ = rows.acting();
    is_first_.clear();
    allowed_.clear();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const StepType type = rows.type(i);
      if (type > StepType::mid) {
        last_.forget(rows.agent(i));
        continue;
      }
      is_first_.push_back(type == StepType::first);
      for (std::size_t c = 0; c < spec_.choices(); ++c) allowed_.push_back(rows.allows(i, c));
    }
  }

  /// The trainer's actions came in time.
  void note(const Actions& actions) {
    if (repeats_) last_.note(actions);
  }

  /// Chooses for the rows that were seen last.
  void act() {
    continuous_.clear();
    discrete_.clear();
    for (std::size_t i = 0; i < agents_.size(); ++i) choose(i);
    actions_.expect(agents_);
    actions_.take({{},
                   {continuous_.data(), continuous_.size() * sizeof(float)},
                   {discrete_.data(), discrete_.size() * sizeof(std::int32_t)},
                   0});
    note(actions_);
  }

  const Actions& actions() const { return actions_; }

  /// Whom the rows that were seen last ask to act.
  const std::vector<std::int64_t>& agents() const { return agents_; }

 private:
  void choose(std::size_t index) {
    const float* continuous = nullptr;
    const std::int32_t* discrete = nullptr;
    const bool again =
        repeats_ && !is_first_[index] && last_.look(agents_[index], continuous, discrete);
    for (std::size_t i = 0; i < spec_.low.size(); ++i) {
      const float zero = (std::min)((std::max)(0.0f, spec_.low[i]), spec_.high[i]);
      continuous_.push_back(again ? continuous[i] : zero);
    }
    const auto* allowed = allowed_.data() + index * spec_.choices();
    for (std::size_t branch = 0; branch < spec_.branches.size(); ++branch) {
      const std::uint32_t choices = spec_.branches[branch];
      const bool keeps = again && allowed[discrete[branch]] != 0;
      // The first of all, if a row forbids all: the trainer will refuse it.
      const auto* first = std::find(allowed, allowed + choices, std::uint8_t{1});
      const auto neutral = first == allowed + choices ? 0 : first - allowed;
      discrete_.push_back(keeps ? discrete[branch] : static_cast<std::int32_t>(neutral));
      allowed += choices;
    }
  }

  Action spec_;
  bool repeats_;
  LastActions last_;
  Actions actions_;
  std::vector<std::int64_t> agents_;
  std::vector<std::uint8_t> is_first_;
  std::vector<std::uint8_t> allowed_;  // of each agent that acts, all choices in a row
  std::vector<float> continuous_;
  std::vector<std::int32_t> discrete_;
};

}  // namespace entrain
