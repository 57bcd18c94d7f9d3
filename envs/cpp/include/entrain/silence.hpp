// Asks the trainer, on a second connection, about a Step that stays without its Act.
//
// Bytes that were lost on the way can leave both ends waiting for each other for ever.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "entrain/messages.hpp"
#include "entrain/refusals.hpp"

namespace entrain {

/// One Step's silence. Times are seconds of one clock, which is passed in.
class Silence {
 public:
  using Open = std::function<std::unique_ptr<WebSocket>()>;

  Silence(double silence_s, double answer_s) : silence_s_(silence_s), answer_s_(answer_s) {}

  /// A new Step was made.
  void begin() { allowed_s_ = silence_s_; }

  /// The Step was sent on a stream.
  void sent(double now_s) {
    stop();
    is_on_ = true;
    due_s_ = now_s + allowed_s_;
  }

  /// Its Act came, or its stream is gone.
  void stop() {
    is_on_ = false;
    is_answered_ = false;
    inquiry_.reset();
  }

  double due_s() const { return due_s_; }
  bool is_on() const { return is_on_; }
  /// The second connection, if the trainer is being asked.
  WebSocket* inquiry() { return inquiry_.get(); }

  /// Whether to give the stream up now; then `why` says for what. Asks when it is time to.
  bool look(double now_s, const Open& open, View request, std::string& why) {
    if (!is_on_) return false;
    if (inquiry_ != nullptr) return ask_on(now_s, request, why);
    if (now_s < due_s_) return false;
    if (is_answered_) return give_up(why, "although the trainer has sent it");
    inquiry_ = open();
    is_asked_ = false;
    due_s_ = now_s + answer_s_;
    return ask_on(now_s, request, why);
  }

 private:
  bool ask_on(double now_s, View request, std::string& why) {
    inquiry_->advance();
    if (inquiry_->is_open() && !is_asked_) {
      is_asked_ = true;
      inquiry_->send(request);
    }
    if (inquiry_->has_message()) {
      return judge(now_s, messages::read_standing(inquiry_->message()), why);
    }
    if (inquiry_->has_ended()) {
      const Ended& ended = inquiry_->ended();
      // Refused: it lives, but does not say.
      if (is_refusal(ended)) return judge(now_s, StepStanding::held, why);
      return give_up(why, "and the trainer does not say whether it has the Step (" + ended.words +
                              ")");
    }
    return now_s >= due_s_ &&
           give_up(why, "and the trainer does not say whether it has the Step");
  }

  bool judge(double now_s, StepStanding standing, std::string& why) {
    inquiry_.reset();
    if (standing == StepStanding::not_held) {
      return give_up(why, "and the trainer has not received the Step");
    }
    is_answered_ = standing == StepStanding::answered;
    due_s_ = now_s + (is_answered_ ? answer_s_ : allowed_s_);
    return false;
  }

  bool give_up(std::string& why, const std::string& reason) {
    why = "no Act came within " + std::to_string(static_cast<int>(allowed_s_)) + " s, " + reason;
    // A very long message over a slow line arrives in the end.
    allowed_s_ *= 2.0;
    stop();
    return true;
  }

  double silence_s_;
  double answer_s_;
  double allowed_s_ = silence_s_;
  double due_s_ = 0.0;
  bool is_on_ = false;
  bool is_asked_ = false;
  bool is_answered_ = false;
  std::unique_ptr<WebSocket> inquiry_;
};

}  // namespace entrain
