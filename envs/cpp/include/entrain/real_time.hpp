// A client for a world that does not wait for the trainer: what comes too late, a fallback does.
//
//     sends a Step --actions in time--> the trainer's
//         |
//         '--deadline--> the fallback's, once each deadline, until the trainer's have come; those are
//                        not applied any more, and the next Step says what happened meanwhile
//
// The loop is that of `Client`, blocking or polled. See docs/real-time.md.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <utility>
#include <vector>

#include "entrain/client.hpp"
#include "entrain/fallback.hpp"
#include "entrain/late_rows.hpp"

namespace entrain {

/// From this revision on trainers read which rows are late.
constexpr std::uint32_t real_time_revision = 2;

/// A `Client` that keeps the deadlines of its behaviours. After `actions` always send rows of what came
/// of them: it sorts out what the trainer is told.
class RealTimeClient : private Client {
 public:
  RealTimeClient(Options options, const std::vector<Behaviour>& behaviours)
      : Client(std::move(options), behaviours) {
    for (const Behaviour& behaviour : behaviours) keep(behaviour);
  }

  using Client::ending;
  using Client::exit_code;
  using Client::leave;
  using Client::parameter;
  using Client::parameters;
  using Client::report;
  using Client::rows;
  using Client::seed;
  using Client::welcome;
  using Client::words;

  /// See `Client::add`.
  std::size_t add(const Behaviour& behaviour) {
    keep(behaviour);
    return Client::add(behaviour);
  }

  /// The latest actions of that behaviour: the trainer's, or the fallback's.
  const Actions& actions(std::size_t behaviour = 0) const {
    const bool is_fallback = is_late_ && behaviour < kinds_.size();
    return is_fallback ? kinds_[behaviour].fallback.actions() : Client::actions(behaviour);
  }
  /// Whether these are the fallback's. A program with a controller of its own lets that act then.
  bool is_late() const { return is_late_; }

  /// As `Client::poll`, in each frame; `actions` also comes when the deadline is over.
  News poll() {
    // The rows of what a fallback led to come first: a game sends them in the same frame.
    if (owes_rows_ && is_unanswered()) return News::nothing;
    const News news = Client::poll();
    if (news == News::begin) begin();
    if (news == News::actions && late_steps_ > 0) {
      report("fallback_steps", static_cast<double>(late_steps_), Aggregation::sum);
      late_steps_ = 0;
      send_waiting();
      return News::nothing;
    }
    if (news == News::actions) {
      is_late_ = false;
      for (std::size_t i = 0; i < kinds_.size(); ++i) kinds_[i].fallback.note(Client::actions(i));
    }
    if (news == News::nothing && is_unanswered() && now_s() >= due_s_) return fall_back();
    if (news != News::nothing) owes_rows_ = news != News::over;
    return news;
  }

  /// Sends the rows, or keeps them until the Step before has its actions: once for each `begin` and
  /// each `actions`. Another call is a mistake, which ends the session.
  void send() {
    if (is_unanswered() && !owes_rows_) {
      misused("send was called twice for the same actions; call it once after each begin and actions");
    }
    for (const Kind& kind : kinds_) {
      const std::string& fault = kind.fallback.actions().fault();
      if (!fault.empty()) misused("actions()." + fault);
    }
    if (is_misused()) return;
    owes_rows_ = false;
    for (std::size_t i = 0; i < kinds_.size(); ++i) kinds_[i].fallback.see(rows(i));
    if (is_unanswered()) {
      set_aside(true);
      due_s_ = now_s() + deadline_s();
      return;
    }
    const auto waits = [](const Kind& kind) { return !kind.late.is_empty(); };
    // Of agents that acted late, and whose outcome may be here only now.
    if (std::any_of(kinds_.begin(), kinds_.end(), waits)) set_aside(false);
    send_waiting();
  }

  /// See `Client::connect`.
  News connect() { return next_news(); }

  /// As `Client::exchange`, but waits no longer than the deadline.
  News exchange() {
    send();
    return next_news();
  }

 private:
  /// One behaviour.
  struct Kind {
    explicit Kind(const Behaviour& behaviour) : fallback(behaviour), late(behaviour) {}
    FallbackActions fallback;
    LateRows late;
    std::vector<std::int64_t> asked;  // agents, ascending, that the last Step asked to act
  };

  void keep(const Behaviour& behaviour) {
    kinds_.emplace_back(behaviour);
    // One Act answers all behaviours of a Step, so the shortest deadline counts.
    if (behaviour.deadline_ms > 0) {
      shortest_s_ = (std::min)(shortest_s_, 0.001 * behaviour.deadline_ms);
    }
  }

  void begin() {
    for (Kind& kind : kinds_) {
      kind.fallback.clear();
      kind.late.clear();
      kind.asked.clear();
    }
    late_steps_ = 0;
    is_late_ = false;
    const bool wants = shortest_s_ < (std::numeric_limits<double>::infinity)();
    if (wants && welcome().revision < real_time_revision) {
      log("this trainer is too old to be told which actions came too late, and would learn from them as "
          "if they had been taken: every action is waited for; upgrade it");
    }
  }

  double deadline_s() const {
    const double for_ever = (std::numeric_limits<double>::infinity)();
    return welcome().revision < real_time_revision ? for_ever : shortest_s_;
  }

  News fall_back() {
    for (Kind& kind : kinds_) kind.fallback.act();
    is_late_ = true;
    owes_rows_ = true;
    ++late_steps_;
    return News::actions;
  }

  void set_aside(bool is_late) {
    for (std::size_t i = 0; i < kinds_.size(); ++i) {
      kinds_[i].late.add(rows(i), is_late ? kinds_[i].asked : nobody_);
      rows(i).clear();
    }
  }

  void send_waiting() {
    for (std::size_t i = 0; i < kinds_.size(); ++i) {
      Kind& kind = kinds_[i];
      kind.late.take(rows(i));
      kind.asked = kind.fallback.agents();
      std::sort(kind.asked.begin(), kind.asked.end());
    }
    Client::send();
    due_s_ = now_s() + deadline_s();
  }

  News next_news() {
    for (News news = poll();; news = poll()) {
      if (news != News::nothing) return news;
      Client::wait(is_unanswered() ? (std::min)(1.0, (std::max)(0.0, due_s_ - now_s())) : 1.0);
    }
  }

  std::deque<Kind> kinds_;  // see Client
  const std::vector<std::int64_t> nobody_;
  double shortest_s_ = (std::numeric_limits<double>::infinity)();
  double due_s_ = 0.0;
  std::uint64_t late_steps_ = 0;
  bool is_late_ = false;
  bool owes_rows_ = false;
};

}  // namespace entrain
