// A simulator's membership with one trainer, over as many connections as that takes.
//
//     dials --Welcome--> joined --broken or silent--> dials again --resumed--> joined
//                          |                                |---- forgotten --> begins anew
//                          '---- Close, refusal, leave ---> over
//
// Nothing here knows what a Step holds, and nothing waits.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "entrain/messages.hpp"
#include "entrain/options.hpp"
#include "entrain/patience.hpp"
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

/// Why a session ended.
enum class Ending : std::uint8_t {
  none,
  completed,  ///< training is done
  stopped,    ///< the trainer stopped and did not come back
  left,       ///< this program left
  refused,    ///< the trainer will not have this simulator as it is
  lost,       ///< no trainer answered
  misused     ///< this program made a mistake; nothing was sent
};

/// See the file. Owned by one thread.
class Session {
 public:
  Session(Options options, Hello hello)
      : options_(std::move(options)),
        address_(parse_address(options_.address)),
        hello_(std::move(hello)),
        silence_(options_.silence_s, options_.answer_s) {}

  /// Begins to dial.
  void join() {
    if (address_.host.empty()) {
      return finish(Ending::misused, "'" + options_.address + "' is no address; expected " +
                                         "HOST:PORT or ws://HOST:PORT, such as localhost:50052");
    }
    patience_.begin(now_s(), options_.connect_s);
    dial_later();
  }

  /// Moves everything on that can be moved on now.
  News poll() {
    if (standing_ == Standing::over) return News::over;
    const double now = now_s();
    if (standing_ == Standing::pausing && now >= due_s_) dial();
    if (socket_ != nullptr) {
      socket_->advance();
      if (standing_ == Standing::opening && socket_->is_open()) greet();
      while (socket_ != nullptr && socket_->has_message()) {
        const News news = take();
        if (news != News::nothing) return news;
      }
    }
    if (socket_ != nullptr && socket_->has_ended()) {
      hear_end(Ended(socket_->ended()));
    } else if (socket_ != nullptr && now >= due_s_ && is_greeting()) {
      broken("no Welcome came within " + std::to_string(static_cast<int>(options_.greeting_s)) +
             " s");
    } else if (silence_.is_on()) {
      watch(now);
    }
    return standing_ == Standing::over ? News::over : News::nothing;
  }

  /// Waits until `poll` can do something, at most so long.
  void wait(double most_s) {
    if (standing_ == Standing::over) return;
    double until_s = std::min(most_s, 1.0);
    if (standing_ == Standing::pausing || is_greeting()) until_s = std::min(until_s, due_s_ - now_s());
    if (silence_.is_on()) until_s = std::min(until_s, silence_.due_s() - now_s());
    const int milliseconds = std::max(0, static_cast<int>(1000.0 * until_s) + 1);
    if (silence_.inquiry() != nullptr) {
      // Two connections: look at the second one often, which is seldom and short.
      silence_.inquiry()->wait(std::min(milliseconds, 20));
    } else if (socket_ != nullptr) {
      socket_->wait(milliseconds);
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    }
  }

  /// Hellos from now on name this one, too.
  void declare(const Behaviour& behaviour) { hello_.behaviours.push_back(behaviour); }

  /// Where the next Step's ConnectRequest is written, after `clear`. Kept until its Act came.
  Bytes& step() { return step_; }
  std::uint64_t next_sequence() const { return sequence_ + 1; }
  bool is_unanswered() const { return is_unanswered_; }
  bool is_over() const { return standing_ == Standing::over; }

  /// Sends the Step, now or when there is a stream again.
  void send_step() {
    is_unanswered_ = true;
    silence_.begin();
    if (standing_ == Standing::joined) send_again();
  }

  /// Says Goodbye, if there is a stream, and is over when the trainer has closed it.
  void leave(std::string_view reason, Ending ending, std::string words) {
    if (standing_ == Standing::over) return;
    if (socket_ != nullptr && socket_->is_open()) {
      Bytes goodbye;
      messages::write_goodbye(goodbye, reason);
      socket_->send(goodbye);
    }
    finish(ending, std::move(words));
  }

  /// Whether what was sent last still waits for the trainer to close the stream.
  bool is_closing() {
    if (socket_ == nullptr) return false;
    socket_->advance();
    while (socket_->has_message()) {
      socket_->drop_message();
      socket_->advance();
    }
    if (socket_->has_ended()) socket_.reset();
    return socket_ != nullptr;
  }

  void wait_for_close(int milliseconds) {
    if (socket_ != nullptr) socket_->wait(milliseconds);
  }

  void finish(Ending ending, std::string words) {
    if (standing_ == Standing::over) return;
    standing_ = Standing::over;
    ending_ = ending;
    words_ = std::move(words);
    silence_.stop();
    options_.log(options_.address + ": " + words_);
  }

  Ending ending() const { return ending_; }
  const std::string& words() const { return words_; }
  const Welcome& welcome() const { return welcome_; }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  const Act& act() const { return act_; }
  const Options& options() const { return options_; }
  static double now_s() {
    const auto since = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(since).count();
  }

 private:
  enum class Standing : std::uint8_t { pausing, opening, greeting, joined, over };

  bool is_greeting() const {
    return standing_ == Standing::opening || standing_ == Standing::greeting;
  }

  void dial_later() {
    standing_ = Standing::pausing;
    if (patience_.next(now_s(), random_, due_s_)) return;
    if (has_stopped_) return finish(Ending::stopped, "the trainer stopped: " + trouble_);
    finish(Ending::lost,
           "no trainer answered within " + std::to_string(static_cast<int>(patience_.total_s())) +
               " s (" + trouble_ + "); usual causes: it is not running, server.websocket is not " +
               "set or names another address, or one side uses TLS and the other does not");
  }

  void dial() {
    socket_ = open("/simulate");
    if (standing_ == Standing::over) return;
    standing_ = Standing::opening;
    due_s_ = now_s() + options_.greeting_s;
  }

  std::unique_ptr<WebSocket> open(std::string_view path) {
    std::unique_ptr<ByteStream> stream = options_.open_stream(address_);
    if (stream == nullptr) {
      finish(Ending::misused, address_.is_secure
                                  ? "wss:// needs TLS; set Options::open_stream, as openssl.hpp does"
                                  : "Options::open_stream made no stream");
    }
    const bool is_file = !options_.token_file.empty();
    const std::string token = is_file ? first_line(options_.token_file) : options_.token;
    if (token.find_first_of("\r\n") != std::string::npos) {
      finish(Ending::misused, "the token has a line break in it");
    }
    return std::make_unique<WebSocket>(std::move(stream), Upgrade(address_, path, token, random_),
                                       options_.max_message_bytes, random_);
  }

  void greet() {
    hello_.resume_session_id = welcome_.session_id;
    Bytes message;
    messages::write(message, hello_);
    socket_->send(message);
    standing_ = Standing::greeting;
  }

  News take() {
    View content;
    const Response response = messages::read_response(socket_->message(), content);
    News news = News::nothing;
    if (response == Response::welcome && standing_ == Standing::greeting) {
      news = take_welcome(content);
    } else if (response == Response::act && standing_ == Standing::joined && is_unanswered_) {
      news = take_act(content);
    } else if (response == Response::close) {
      take_close(content);
    } else if (response == Response::refusal) {
      take_refusal(content);
    } else {
      wrong("sent a message that does not belong here");
    }
    // An Act stays where it is until the next poll: what it holds points into it.
    if (socket_ != nullptr) socket_->drop_message();
    return standing_ == Standing::over ? News::over : news;
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
    standing_ = Standing::joined;
    joined_s_ = now_s();
    has_stopped_ = false;
    parameters_ = welcome_.parameters;
    if (welcome_.resumed) {
      options_.log(options_.address + ": session " + welcome_.session_id + " resumed");
      if (is_unanswered_) send_again();
      return News::nothing;
    }
    if (!lost.empty()) {
      options_.log(options_.address + ": the trainer no longer knows session " + lost +
                   "; beginning anew");
    }
    patience_.end();
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
    patience_.end();
    for (const auto& [name, value] : act_.parameters) messages::put(parameters_, name, value);
    return News::actions;
  }

  void take_close(View content) {
    std::uint64_t reason = 0;
    std::string words;
    messages::read_numbered(content, reason, words);
    const bool has_stopped = reason == static_cast<std::uint64_t>(CloseReason::stopped);
    if (has_stopped && options_.reconnect_s > 0.0) {
      has_stopped_ = true;
      return broken("it stopped: " + words);
    }
    leave("the trainer closed the session", has_stopped ? Ending::stopped : Ending::completed,
          "the trainer is done: " + words);
  }

  void take_refusal(View content) {
    std::uint64_t code = 0;
    std::string words;
    messages::read_numbered(content, code, words);
    if (may_dial_again(code)) return broken(words);
    refused(words);
  }

  void hear_end(const Ended& ended) {
    std::string words = ended.words;
    if (ended.kind == Ended::Kind::closed) words += " (close code " + std::to_string(ended.code) + ")";
    if (is_refusal(ended)) return refused(words);
    broken(words);
  }

  void watch(double now) {
    std::string why;
    Bytes request;
    if (now >= silence_.due_s() || silence_.inquiry() != nullptr) {
      messages::write_inquiry(request, welcome_.session_id, hello_.instance_id, sequence_ + 1);
    }
    const auto ask = [this] { return open("/inquire"); };
    if (!silence_.look(now, ask, request, why)) return;
    // Patience with a network that loses things begins anew each time.
    patience_.end();
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
    socket_->send(step_);
    silence_.sent(now_s());
  }

  void broken(const std::string& why) {
    if (standing_ == Standing::over) return;
    if (standing_ == Standing::joined || trouble_ != why) {
      options_.log(options_.address + ": " + why + "; dialling again");
    }
    // A stream that held for a while is a trouble that is over; this is another one.
    constexpr double held_s = 10.0;
    if (standing_ == Standing::joined && now_s() - joined_s_ > held_s) patience_.end();
    trouble_ = why;
    silence_.stop();
    socket_.reset();
    patience_.begin(now_s(), options_.reconnect_s);
    dial_later();
  }

  void wrong(const std::string& what) { refused("the trainer " + what); }

  void refused(const std::string& words) {
    socket_.reset();
    finish(Ending::refused, "refused '" + hello_.simulator + "': " + words);
  }

  Options options_;
  Address address_;
  Hello hello_;
  Random random_;
  Patience patience_;
  Silence silence_;
  std::unique_ptr<WebSocket> socket_;
  Standing standing_ = Standing::pausing;
  double due_s_ = 0.0;  // of the next dial, or of the Welcome
  double joined_s_ = 0.0;
  bool has_stopped_ = false;
  std::string trouble_ = "not dialled";
  Welcome welcome_;
  std::vector<Parameter> parameters_;
  Act act_;
  Bytes step_;
  std::uint64_t sequence_ = 0;  // of the last Step that has its Act
  bool is_unanswered_ = false;
  Ending ending_ = Ending::none;
  std::string words_;
};

}  // namespace entrain
