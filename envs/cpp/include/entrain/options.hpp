// What a client is told when it is made: where the trainer is, and how patient to be.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "entrain/byte_stream.hpp"
#include "entrain/socket.hpp"

namespace entrain {

/// Plain TCP, for ws:// addresses. For wss:// set `Options::open_stream` to one with TLS.
inline std::unique_ptr<ByteStream> open_tcp(const Address& address) {
  if (address.is_secure) return nullptr;
  return std::make_unique<TcpStream>(address);
}

inline void log_to_stderr(const std::string& line) {
  std::fprintf(stderr, "entrain: %s\n", line.c_str());
}

#ifdef _MSC_VER
#pragma warning(push)
#pragma warning(disable : 4996)  // Microsoft would have its own function in place of getenv
#endif
inline std::string environment_variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}
#ifdef _MSC_VER
#pragma warning(pop)
#endif

/// A number from the environment; `otherwise` if there is none that is one.
inline double environment_number(const char* name, double otherwise) {
  const std::string text = environment_variable(name);
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  return text.empty() || *end != '\0' || !(number >= 0.0) ? otherwise : number;
}

/// The first line of a file; empty if there is none, or the file cannot be read.
inline std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return line;
}

/// See the file.
struct Options {
  std::string address = {};       ///< HOST:PORT, ws://HOST:PORT or wss://HOST:PORT
  std::string simulator = {};     ///< this program's name in the trainer's logs
  std::string token = {};         ///< empty sends none
  std::string token_file = {};    ///< its first line is the token, read for each dial
  /// "training", which empty means, too; or "evaluation", to take part in the run's evaluations alone,
  /// of which nothing is learned.
  std::string role = environment_variable("ENTRAIN_ROLE");
  std::uint32_t max_agents = 0;   ///< most agents alive at once; 0: not known
  double connect_s = 300.0;       ///< how long to wait for a trainer that is not up yet
  /// How long to wait for a trainer that went away. 0: one that stops ends the session, and a
  /// broken stream is dialled again only once.
  double reconnect_s = environment_number("ENTRAIN_RECONNECT_S", 60.0);
  double greeting_s = 30.0;       ///< longest wait for a Welcome
  double silence_s = 30.0;        ///< after that long without an Act the trainer is asked
  double answer_s = 5.0;          ///< longest wait for its answer
  double goodbye_s = 2.0;         ///< longest wait, in `leave`, for the trainer to end the stream
  std::size_t max_message_bytes = 64u << 20;  ///< longest message that is taken from the trainer
  OpenStream open_stream = open_tcp;          ///< makes the connection; for TLS, see openssl.hpp
  std::function<void(const std::string&)> log = log_to_stderr;  ///< what a person should know
};

/// Options for a program: its address from the command line or, if `address` is empty, from
/// $ENTRAIN_WEBSOCKET, which a trainer sets for what it launches, as it does the others here.
inline Options options_for(std::string address, std::string simulator) {
  Options options;
  options.address = address.empty() ? environment_variable("ENTRAIN_WEBSOCKET") : address;
  const std::string name = environment_variable("ENTRAIN_SIMULATOR");
  options.simulator = name.empty() ? std::move(simulator) : name;
  options.token_file = environment_variable("ENTRAIN_TOKEN_FILE");
  return options;
}

}  // namespace entrain
