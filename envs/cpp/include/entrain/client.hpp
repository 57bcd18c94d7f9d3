// The client of a simulator: join a trainer, send rows and get actions, leave. Include this one.
//
// Blocking:     for (News news = client.connect(); news != News::over; news = client.exchange())
// or in a game: call `poll` in each frame, and `send` when it brought `begin` or `actions`.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "entrain/actions.hpp"
#include "entrain/session.hpp"
#include "entrain/step.hpp"

namespace entrain {

/// From this revision on trainers know that agents earn in groups, and take kinds of agents that no
/// Hello has named.
constexpr std::uint32_t groups_revision = 1;

/// One simulator's connection to a trainer. Owned by one thread, shares nothing with other clients,
/// throws nothing. From the second Step on it allocates no memory, unless a Step or an Act is
/// larger than all before.
class Client {
 public:
  /// Nothing is dialled before `connect` or `poll`.
  Client(Options options, std::vector<Behaviour> behaviours)
      : session_(options, Hello{options.simulator, unique_name(), behaviours, options.max_agents, {},
                                role_of(options.role)}) {
    for (Behaviour& behaviour : behaviours) {
      actions_.emplace_back(behaviour);
      rows_.emplace_back(std::move(behaviour));
    }
  }
  ~Client() { leave("the program ended"); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // --- the same for both uses ---

  /// The rows that the next Step will have, of the behaviour with that index: the same object as long
  /// as the client lives. Empty after each Step.
  Rows& rows(std::size_t behaviour = 0) {
    return has(behaviour, "rows") ? rows_[behaviour] : no_rows_;
  }
  /// The latest actions of that behaviour: the same object as long as the client lives.
  const Actions& actions(std::size_t behaviour = 0) const {
    return has(behaviour, "actions") ? actions_[behaviour] : no_actions_;
  }
  /// A further kind of agent, after the session has begun; the next Step declares it. A trainer whose
  /// `welcome().revision` is 0 takes none: it is left, and `words` says so. Returns its index.
  std::size_t add(Behaviour behaviour) {
    if (session_.dialler().is_joined() && session_.welcome().revision < groups_revision) {
      const std::string words =
          "behaviour '" + behaviour.name + "' comes after this simulator has joined, which this trainer " +
          "is too old for; declare every behaviour when the client is made, or upgrade the trainer";
      session_.leave(words, Ending::refused, words);
    }
    declared_.emplace_back();
    protobuf::Writer writer(declared_.back());
    messages::write(writer, behaviour);
    session_.dialler().declare(behaviour);
    actions_.emplace_back(behaviour);
    rows_.emplace_back(std::move(behaviour));
    return rows_.size() - 1;
  }
  /// A number for people, which goes with the next Step; the trainer shows it beside its metrics. Of
  /// more than 10,000 in a Step some are left out, which is logged once.
  void report(std::string_view name, double value, Aggregation aggregation = Aggregation::mean) {
    if (statistics_.report(name, value, aggregation) || has_left_out_) return;
    has_left_out_ = true;
    log("more than " + std::to_string(Statistics::most_values) +
        " values of statistics in one step: some left out");
  }
  /// A number that the trainer's file sets, such as gravity; `otherwise` if it does not.
  float parameter(std::string_view name, float otherwise) const {
    for (const Parameter& parameter : parameters()) {
      if (parameter.first == name) return parameter.second;
    }
    return otherwise;
  }
  const std::vector<Parameter>& parameters() const { return session_.parameters(); }
  /// For the simulator's own randomness.
  std::uint64_t seed() const { return session_.welcome().seed; }
  const Welcome& welcome() const { return session_.welcome(); }

  Ending ending() const { return session_.dialler().ending(); }
  /// Why it is over, for people.
  const std::string& words() const { return session_.dialler().words(); }
  /// What the program should end with: 0; 1 if starting it again may go better, because no trainer
  /// answered, it has no room now, or it refused a Step; 78 if that would bring the same refusal. See
  /// proto/README.md, "Exit codes".
  int exit_code() const {
    const Ending ending = session_.dialler().ending();
    if (ending == Ending::refused || ending == Ending::misused) return 78;
    return ending == Ending::lost || ending == Ending::failed ? 1 : 0;
  }

  // --- in a game: none of these waits, but for the system that looks up the trainer's name in `poll`,
  // whenever it dials; give a number such as 10.0.0.7 to a game that must not wait even then ---

  /// Moves the conversation on. Call it at least every 20 seconds, or the trainer takes the program
  /// for dead; it dials again then.
  News poll() {
    if (!has_joined_) {
      has_joined_ = true;
      session_.dialler().join();
    }
    const News news = session_.poll();
    if (news == News::begin) clear();
    if (news == News::actions && !take_actions()) return News::over;
    return news;
  }

  /// Sends the rows as a Step. A call while one is unanswered is a mistake, which ends the session.
  void send() {
    if (session_.is_unanswered()) misused("send was called while a Step has no actions yet");
    if (is_misused()) return;
    for (std::size_t i = 0; i < rows_.size(); ++i) actions_[i].expect(rows_[i].acting());
    session_.step().clear();
    if (session_.welcome().revision < groups_revision) {
      for (Rows& rows : rows_) rows.join_rewards();
    }
    write_step(session_.step(), session_.next_sequence(), rows_, declared_, statistics_);
    declared_.clear();
    clear();
    session_.send_step();
  }

  bool is_unanswered() const { return session_.is_unanswered(); }

  /// Waits until `poll` can do something, at most so long.
  void wait(double most_s) { session_.wait(most_s); }

  // --- blocking ---

  /// Joins the trainer, and waits up to `connect_s` for one that is not up yet.
  News connect() { return next_news(); }

  /// Sends the rows and waits for the actions. `begin`: the trainer forgot this session.
  News exchange() {
    send();
    session_.wait();
    return next_news();
  }

  /// Leaves for good; waits a little for the trainer to close the stream. Safe to call twice.
  void leave(std::string_view reason) {
    session_.leave(reason, Ending::left, "left: " + std::string(reason));
    const double deadline_s = now_s() + session_.dialler().options().goodbye_s;
    while (session_.dialler().is_closing() && now_s() < deadline_s) session_.dialler().wait_for_close(50);
  }

 protected:
  /// Whether the program asked for what there is not, or filled a row in wrongly; then the session is
  /// over, and says so.
  bool is_misused() {
    if (!fault_.empty()) misused(fault_);
    for (const Actions& actions : actions_) {
      if (!actions.fault().empty()) misused("actions()." + actions.fault());
    }
    for (const Rows& rows : rows_) {
      if (!rows.fault().empty()) misused(rows.fault());
    }
    return session_.dialler().is_over();
  }
  void misused(const std::string& words) { session_.leave(words, Ending::misused, words); }
  void log(const std::string& line) { session_.dialler().log(line); }

 private:
  News next_news() {
    for (News news = poll();; news = poll()) {
      if (news != News::nothing) return news;
      session_.wait();
    }
  }

  void clear() {
    for (Rows& rows : rows_) rows.clear();
    statistics_.clear();
  }

  bool has(std::size_t behaviour, const char* what) const {
    if (behaviour < rows_.size()) return true;
    if (fault_.empty()) {
      fault_ = std::string(what) + "(" + std::to_string(behaviour) + ") was asked for; behaviours given " +
               "to the client: " + std::to_string(rows_.size()) + ", counted from 0";
    }
    return false;
  }

  bool take_actions() {
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      const ActPart part = part_of(rows_[i].behaviour().name);
      if (actions_[i].take(part)) continue;
      session_.leave("an Act does not fit", Ending::failed,
                     "the trainer's actions of '" + rows_[i].behaviour().name + "' " +
                         actions_[i].misfit());
      return false;
    }
    return true;
  }

  ActPart part_of(std::string_view name) const {
    for (const ActPart& part : session_.act().parts) {
      if (part.behaviour == name) return part;
    }
    return {};
  }

  Session session_;
  // Deques, so that a program may keep what `rows` and `actions` gave when `add` makes more of them.
  std::deque<Rows> rows_;
  std::deque<Actions> actions_;
  Rows no_rows_{Behaviour{}};
  Actions no_actions_{Behaviour{}};
  mutable std::string fault_;  // of a call that reads, too
  std::vector<Bytes> declared_;  // not yet sent
  Statistics statistics_;
  bool has_left_out_ = false;  // of statistics, and said so
  bool has_joined_ = false;
};

}  // namespace entrain
