// The stream to a trainer: dialled, greeted with a Hello, and dialled again where it broke.
//
//     pausing --> opening --> greeting --Welcome--> joined --broken--> pausing ...
//                                                      '--- finish ---> over
//
// It knows neither Steps nor Acts. It never waits, but for the system that looks up a name.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "entrain/messages.hpp"
#include "entrain/options.hpp"
#include "entrain/patience.hpp"
#include "entrain/refusals.hpp"
#include "entrain/websocket.hpp"

namespace entrain {

/// Why a session ended.
enum class Ending : std::uint8_t {
  none,
  completed,  ///< training is done
  stopped,    ///< the trainer stopped and did not come back
  left,       ///< this program left
  refused,    ///< the trainer will not have this simulator as it is
  lost,       ///< no trainer answered
  misused,    ///< this program made a mistake; nothing was sent
  failed      ///< the trainer refused a Step, has no room now, or sent what cannot be used
};

/// Seconds of a clock that only goes forward.
inline double now_s() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(since).count();
}

/// Rounded up, and within what a wait of the system takes.
inline int milliseconds_of(double seconds) {
  constexpr double longest = 1e9;
  return static_cast<int>((std::max)(0.0, (std::min)(longest, 1000.0 * seconds + 1.0)));
}

/// See the file. Owned by one thread.
class Dialler {
 public:
  Dialler(Options options, Hello hello)
      : options_(std::move(options)),
        address_(parse_address(options_.address)),
        hello_(std::move(hello)) {}

  /// Begins to dial.
  void join() {
    if (address_.host.empty()) {
      const std::string what =
          options_.address.empty() ? "no address was given" : "'" + options_.address + "' is no address";
      return finish(Ending::misused, what + "; expected HOST:PORT or ws://HOST:PORT, such as " +
                                         "localhost:50052, or $ENTRAIN_WEBSOCKET");
    }
    if (hello_.role == Role::unknown) {
      return finish(Ending::misused, "role is '" + options_.role + "'; it must be training or evaluation");
    }
    patience_.begin(now_s(), options_.connect_s);
    dial_later();
  }

  /// Dials when it is time to, moves the stream's bytes, and says Hello.
  void advance() {
    if (standing_ == Standing::pausing && now_s() >= due_s_) dial();
    if (socket_ == nullptr) return;
    socket_->advance();
    if (standing_ == Standing::opening && socket_->is_open()) greet();
  }

  /// Whether the stream has ended, or no Welcome came in time; then it is to be dialled again.
  bool has_broken() {
    if (socket_ == nullptr || standing_ == Standing::over) return false;
    if (socket_->has_ended()) {
      hear_end(Ended(socket_->ended()));
      return true;
    }
    if (!is_greeting() || now_s() < due_s_) return false;
    broken("no Welcome came within " + std::to_string(static_cast<int>(options_.greeting_s)) +
           " s");
    return true;
  }

  /// The stream; null between two dials.
  WebSocket* stream() { return socket_.get(); }
  bool is_joined() const { return standing_ == Standing::joined; }
  bool is_over() const { return standing_ == Standing::over; }
  bool waits_for_welcome() const { return standing_ == Standing::greeting; }
  /// When something is to be done without bytes that come; `most_s` if nothing is.
  double due_s(double most_s) const {
    return standing_ == Standing::pausing || is_greeting() ? (std::min)(most_s, due_s_) : most_s;
  }

  /// A Welcome came; the next Hello resumes its session.
  void joined(const Welcome& welcome) {
    standing_ = Standing::joined;
    joined_s_ = now_s();
    has_stopped_ = false;
    hello_.resume_session_id = welcome.session_id;
  }

  /// All is well: the next trouble is another one, with patience of its own.
  void settled() { patience_.end(); }

  /// Hellos from now on name this one, too.
  void declare(const Behaviour& behaviour) { hello_.behaviours.push_back(behaviour); }
  const std::string& instance_id() const { return hello_.instance_id; }
  Role role() const { return hello_.role; }
  const Options& options() const { return options_; }

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

  /// The trainer stops, and may come back.
  void stopped(const std::string& words) {
    has_stopped_ = true;
    broken("it stopped: " + words);
  }

  /// The stream is of no use any more: dials again, if there is patience left.
  void broken(const std::string& why) {
    if (standing_ == Standing::over) return;
    if (standing_ == Standing::joined || trouble_ != why) {
      log(why + "; dialling again");
    }
    // A stream that held for a while is a trouble that is over; this is another one.
    constexpr double held_s = 10.0;
    if (standing_ == Standing::joined && now_s() - joined_s_ > held_s) patience_.end();
    trouble_ = why;
    socket_.reset();
    patience_.begin(now_s(), options_.reconnect_s);
    dial_later();
  }

  /// The trainer will not have this simulator, or not now, or not what a Step of it held.
  void refused(const std::string& words, bool has_room) {
    // The Hello would be the same again; what a Step held, such as a NaN, need not come again.
    const bool is_for_good = has_room && standing_ != Standing::joined;
    socket_.reset();
    finish(is_for_good ? Ending::refused : Ending::failed,
           "refused '" + hello_.simulator + "': " + words);
  }

  void finish(Ending ending, std::string words) {
    if (standing_ == Standing::over) return;
    standing_ = Standing::over;
    ending_ = ending;
    words_ = std::move(words);
    log(words_);
  }

  void log(const std::string& line) const {
    const std::string port = address_.is_usual_port ? " (port " + address_.port + ")" : "";
    options_.log(options_.address.empty() ? line : options_.address + port + ": " + line);
  }

  Ending ending() const { return ending_; }
  const std::string& words() const { return words_; }

  /// A connection of its own, on another path.
  std::unique_ptr<WebSocket> open(std::string_view path) {
    std::unique_ptr<ByteStream> stream = options_.open_stream(address_);
    if (stream == nullptr) {
      finish(Ending::misused, address_.is_secure
                                  ? "wss:// needs TLS; set Options::open_stream, as openssl.hpp does"
                                  : "Options::open_stream made no stream");
    }
    read_token();
    return std::make_unique<WebSocket>(std::move(stream),
                                       Upgrade(address_, path, options_.token, random_),
                                       options_.max_message_bytes, random_);
  }

 private:
  enum class Standing : std::uint8_t { pausing, opening, greeting, joined, over };

  bool is_greeting() const {
    return standing_ == Standing::opening || standing_ == Standing::greeting;
  }

  /// Takes the token that the file has now. While it is renewed it may be empty or absent: the one
  /// before is good until the trainer says otherwise.
  void read_token() {
    std::string& token = options_.token;
    if (!options_.token_file.empty()) {
      std::string line = first_line(options_.token_file);
      if (!line.empty()) {
        token = std::move(line);
        has_read_token_ = true;
      }
      if (!has_read_token_) {
        return finish(Ending::misused, "the token file " + options_.token_file +
                                           " cannot be read, or is empty; its first line must be the " +
                                           "token");
      }
    }
    if (token.find_first_of("\r\n") != std::string::npos) {
      finish(Ending::misused, "the token has a line break in it");
    }
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

  void greet() {
    Bytes message;
    messages::write(message, hello_);
    socket_->send(message);
    standing_ = Standing::greeting;
  }

  void hear_end(const Ended& ended) {
    if (ended.kind == Ended::Kind::too_long) {
      socket_.reset();
      return finish(Ending::refused,
                    "the trainer and '" + hello_.simulator + "' do not fit: a message is too long (this " +
                        "client takes up to " + std::to_string(options_.max_message_bytes) +
                        " bytes); send fewer agents in a Step, or raise Options::max_message_bytes");
    }
    std::string words = ended.words;
    if (ended.kind == Ended::Kind::closed) words += " (close code " + std::to_string(ended.code) + ")";
    if (ended.kind == Ended::Kind::answered_http) words += remedy_of(ended.status);
    if (is_refusal(ended)) return refused(words, !has_no_room(ended));
    broken(words);
  }

  Options options_;
  Address address_;
  Hello hello_;
  Random random_;
  Patience patience_;
  std::unique_ptr<WebSocket> socket_;
  Standing standing_ = Standing::pausing;
  double due_s_ = 0.0;  // of the next dial, or of the Welcome
  double joined_s_ = 0.0;
  bool has_stopped_ = false;
  bool has_read_token_ = false;  // of the file, at least once
  std::string trouble_ = "not dialled";
  Ending ending_ = Ending::none;
  std::string words_;
};

}  // namespace entrain
