// A simulator's membership with one trainer, over as many streams as that takes.
//
//     dials --Welcome--> joined --broken or silent--> dials again --resumed--> joined
//                          |                                |---- forgotten --> begins anew
//                          '---- Close, refusal, leave ---> over
//
// Nothing here knows what a Step holds. Nothing but `wait` waits, and the system when it looks up the
// trainer's name.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "entrain/dialler.hpp"
#include "entrain/messages.hpp"
#include "entrain/refusals.hpp"
#include "entrain/silence.hpp"
#include "entrain/websocket.hpp"

namespace entrain {

/// What a call brought.
enum class News : std::uint8_t {
  nothing,  ///< not yet
  begin,    ///< a new session: reset the world and send `first` rows
  actions,  ///< the actions for the Step that was sent
  over      ///< the session has ended; `Client::ending` and `Client::words` say why
};

/// See the file. Owned by one thread.
class Session {
 public:
  Session(Options options, Hello hello)
      : silence_(options.silence_s, options.answer_s),
        dialler_(std::move(options), std::move(hello)) {}

  /// Moves everything on that can be moved on now.
  News poll() {
    if (dialler_.is_over()) return News::over;
    dialler_.advance();
    while (dialler_.stream() != nullptr && dialler_.stream()->has_message()) {
      const News news = take();
      if (news != News::nothing) return news;
    }
    if (dialler_.has_broken()) {
      silence_.stop();
    } else if (silence_.is_on()) {
      watch(now_s());
    }
    return dialler_.is_over() ? News::over : News::nothing;
  }

  /// Waits until `poll` can do something, at most so long.
  void wait(double most_s = 1.0) {
    if (dialler_.is_over()) return;
    const double now = now_s();
    double until_s = dialler_.due_s(now + most_s);
    if (silence_.is_on()) until_s = (std::min)(until_s, silence_.due_s());
    const int milliseconds = milliseconds_of(until_s - now);
    if (silence_.inquiry() != nullptr) {
      // Two connections: look at the second one often, which is seldom and short.
      silence_.inquiry()->wait((std::min)(milliseconds, 20));
    } else if (dialler_.stream() != nullptr) {
      dialler_.stream()->wait(milliseconds);
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    }
  }

  Dialler& dialler() { return dialler_; }
  const Dialler& dialler() const { return dialler_; }

  /// Where the next Step's ConnectRequest is written, after `clear`. Kept until its Act came.
  Bytes& step() { return step_; }
  std::uint64_t next_sequence() const { return sequence_ + 1; }
  bool is_unanswered() const { return is_unanswered_; }

  /// Sends the Step, now or when there is a stream again.
  void send_step() {
    is_unanswered_ = true;
    silence_.begin();
    if (dialler_.is_joined()) send_again();
  }

  /// Says Goodbye, and is over.
  void leave(std::string_view reason, Ending ending, std::string words) {
    silence_.stop();
    dialler_.leave(reason, ending, std::move(words));
  }

  const Welcome& welcome() const { return welcome_; }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  const Act& act() const { return act_; }

 private:
  News take() {
    View content;
    const Response response = messages::read_response(dialler_.stream()->message(), content);
    News news = News::nothing;
    if (response == Response::welcome && dialler_.waits_for_welcome()) {
      news = take_welcome(content);
    } else if (response == Response::act && dialler_.is_joined() && is_unanswered_) {
      news = take_act(content);
    } else if (response == Response::close) {
      take_close(content);
    } else if (response == Response::refusal) {
      take_refusal(content);
    } else {
      wrong("sent a message that does not belong here");
    }
    // An Act stays where it is until the next poll: what it holds points into it.
    if (dialler_.stream() != nullptr) dialler_.stream()->drop_message();
    return dialler_.is_over() ? News::over : news;
  }

  News take_welcome(View content) {
    const std::string lost = std::move(welcome_.session_id);
    if (!messages::read(content, welcome_)) {
      wrong("sent a damaged Welcome");
      return News::over;
    }
    if (welcome_.version != protocol_version) {
      leave("", Ending::refused,
            "the trainer chose protocol " + std::to_string(welcome_.version) + ", this client " +
                "speaks " + std::to_string(protocol_version) + "; take the client of its version");
      return News::over;
    }
    if (dialler_.role() != Role::training && welcome_.revision < roles_revision) {
      leave("the trainer knows of no roles", Ending::refused,
            "this is a trainer of revision " + std::to_string(welcome_.revision) + ", which would learn " +
                "from this simulator instead of evaluating in it; upgrade entrain there, to revision " +
                std::to_string(roles_revision) + " or later");
      return News::over;
    }
    dialler_.joined(welcome_);
    parameters_ = welcome_.parameters;
    if (welcome_.resumed) {
      dialler_.log("session " + welcome_.session_id + " resumed");
      // Not settled: a trainer that breaks each stream at once is given up some time.
      if (is_unanswered_) send_again();
      return News::nothing;
    }
    if (!lost.empty()) {
      dialler_.log("the trainer no longer knows session " + lost +
                   "; beginning anew");
    }
    dialler_.log("joined run '" + welcome_.run_id + "'");
    dialler_.settled();
    sequence_ = 0;
    is_unanswered_ = false;
    return News::begin;
  }

  News take_act(View content) {
    if (!messages::read(content, act_)) {
      wrong("sent a damaged Act");
      return News::over;
    }
    if (act_.sequence != sequence_ + 1) {
      wrong("answered Step " + std::to_string(act_.sequence) + " when Step " +
            std::to_string(sequence_ + 1) + " was asked");
      return News::over;
    }
    ++sequence_;
    is_unanswered_ = false;
    silence_.stop();
    dialler_.settled();
    for (const auto& [name, value] : act_.parameters) messages::put(parameters_, name, value);
    return News::actions;
  }

  void take_close(View content) {
    std::uint64_t reason = 0;
    std::string words;
    if (!messages::read_numbered(content, reason, words)) return wrong("sent a damaged Close");
    const bool has_stopped = reason == static_cast<std::uint64_t>(CloseReason::stopped);
    if (has_stopped && dialler_.options().reconnect_s > 0.0) {
      silence_.stop();
      return dialler_.stopped(words);
    }
    leave("the trainer closed the session", has_stopped ? Ending::stopped : Ending::completed,
          "the trainer is done: " + words);
  }

  void take_refusal(View content) {
    std::uint64_t code = 0;
    std::string words;
    if (!messages::read_numbered(content, code, words)) return wrong("sent a damaged Refusal");
    if (may_dial_again(code)) return broken(words);
    silence_.stop();
    dialler_.refused(words, code != refusal_code::resource_exhausted);
  }

  void watch(double now) {
    std::string why;
    Bytes request;
    if (now >= silence_.due_s() || silence_.inquiry() != nullptr) {
      messages::write_inquiry(request, welcome_.session_id, dialler_.instance_id(), sequence_ + 1);
    }
    const auto ask = [this] { return dialler_.open("/inquire"); };
    if (!silence_.look(now, ask, request, why)) return;
    // Patience with a network that loses things begins anew each time.
    dialler_.settled();
    broken(why);
  }

  void send_again() {
    const std::uint64_t most = welcome_.max_message_bytes;
    if (most > 0 && step_.size() > most) {
      return leave("the Step is too long", Ending::misused,
                   "a Step has " + std::to_string(step_.size()) + " bytes, and the trainer takes " +
                       std::to_string(most) + "; send fewer agents in a Step or smaller images, " +
                       "or raise the trainer's server.max_message_mib");
    }
    dialler_.stream()->send(step_);
    silence_.sent(now_s());
  }

  void broken(const std::string& why) {
    silence_.stop();
    dialler_.broken(why);
  }

  void wrong(const std::string& what) {
    leave("a message cannot be used", Ending::failed, "the trainer " + what);
  }

  Silence silence_;
  Dialler dialler_;
  Welcome welcome_;
  std::vector<Parameter> parameters_;
  Act act_;
  Bytes step_;
  std::uint64_t sequence_ = 0;  // of the last Step that has its Act
  bool is_unanswered_ = false;
};

}  // namespace entrain
