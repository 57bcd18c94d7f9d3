// What the tests of the C++ client run: its codec by lines of words, or a simulator that plays.
//
//     probe codec                       reads lines from the standard input, answers each
//     probe play ADDRESS [name=value]   a small world with all that rows can be; says what it sees

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <string>
#include <thread>

#include <sys/resource.h>

#include "codec.hpp"
#include "entrain/client.hpp"
#include "entrain/real_time.hpp"
#ifdef ENTRAIN_PROBE_OPENSSL
#include "entrain/openssl.hpp"
#endif

namespace {

std::atomic<std::uint64_t> allocated_bytes{0};

using entrain::News;

/// Two kinds of agents. Runners appear, go on, end and begin again in one Step; choosers may not
/// take every choice. Each observation is known beforehand, so that the other side can compare.
class World {
 public:
  /// Runners are numbered from 0 on; in `descending` order the last one's rows come first.
  explicit World(int agents, bool descending = false) : agents_(agents), descending_(descending) {}

  static std::vector<entrain::Behaviour> behaviours() {
    const float unbounded = std::numeric_limits<float>::infinity();
    return {{"runner", {{"place", {2}}}, {{-1.0f, -unbounded}, {1.0f, unbounded}, {}}},
            {"chooser",
             {{"pixels", {2, 2}, entrain::Dtype::uint8, entrain::Kind::vector}, {"mood", {}}},
             {{}, {}, {3, 2}}}};
  }

  void reset() { steps_ = 0; }

  template <typename Client>
  void write(Client& client) {
    const int at = steps_++ % 5;
    const auto place = static_cast<float>(steps_);
    for (int i = 0; i < agents_; ++i) {
      const int agent = descending_ ? agents_ - 1 - i : i;
      if (at == 0 && steps_ > 1) client.rows(0).terminated(agent, 1.0f).observe({place, 99.0f});
      entrain::Row row = at == 0 ? client.rows(0).first(agent) : client.rows(0).mid(agent, 0.5f);
      row.observe({place, static_cast<float>(agent)});
    }
    entrain::Row row = steps_ == 1 ? client.rows(1).first(7) : client.rows(1).mid(7, -1.0f);
    row.bytes(0)[3] = static_cast<std::uint8_t>(steps_);
    row.observe({place}, 1).forbid(static_cast<std::size_t>(at % 3)).forbid(1, 1);
  }

 private:
  int agents_;
  bool descending_;
  int steps_ = 0;
};

/// What else may go beside the rows: groups, statistics, a kind of agent that comes later, one agent
/// that is absent now and then and comes back a while after its end.
class Extras {
 public:
  void reset() { steps_ = 0; }

  template <typename Client>
  void write(Client& client) {
    ++steps_;
    client.report("coins", 1.0, entrain::Aggregation::sum);
    const int at = steps_ % 12;
    const std::int64_t wanderer = 100;
    if (at == 1) client.rows(0).first(wanderer).observe({1.0f, 0.5f}).group(3, 0.0f);
    if (at == 2 || at == 3 || at == 5) {
      client.rows(0).mid(wanderer, 0.0f).observe({static_cast<float>(at), 0.5f}).group(3, 0.25f);
    }
    if (at == 7) client.rows(0).truncated(wanderer, 1.0f).observe({7.5f, 0.5f}).group(3, 1.0f);
    if (steps_ == 3 && later_ == 0) {
      later_ = client.add({"later", {{"x", {1}}}, {{}, {}, {2}}});
    }
    if (later_ == 0) return;
    entrain::Row row = is_new_ ? client.rows(later_).first(1) : client.rows(later_).mid(1, 0.0f);
    row.observe({static_cast<float>(steps_)});
    is_new_ = false;
  }

  /// After `reset` the later ones begin, too.
  void begin() { is_new_ = true; }

 private:
  int steps_ = 0;
  std::size_t later_ = 0;
  bool is_new_ = true;
};

std::map<std::string, std::string> options_in(int count, char** words) {
  std::map<std::string, std::string> options;
  for (int i = 3; i < count; ++i) {
    const std::string word = words[i];
    options[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
  }
  return options;
}

double number(std::map<std::string, std::string>& options, const char* name, double otherwise) {
  return options.count(name) == 0 ? otherwise : std::strtod(options[name].c_str(), nullptr);
}

entrain::Options client_options(const char* address, std::map<std::string, std::string>& given) {
  entrain::Options options = entrain::options_for(address, "probe");
  options.token = given["token"];
  if (given.count("role") > 0) options.role = given["role"];
  options.connect_s = number(given, "connect_s", 60.0);
  options.reconnect_s = number(given, "reconnect_s", 60.0);
  options.silence_s = number(given, "silence_s", 30.0);
  options.answer_s = number(given, "answer_s", 30.0);
  options.greeting_s = number(given, "greeting_s", 60.0);
  options.max_message_bytes = static_cast<std::size_t>(number(given, "longest", 1 << 26));
  options.max_agents = static_cast<std::uint32_t>(number(given, "max_agents", 0.0));
#ifdef ENTRAIN_PROBE_OPENSSL
  options.open_stream = entrain::openssl_streams({given["ca"], given["certificate"], given["key"]});
#endif
  return options;
}

/// Processor time of this process so far.
double used_s() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Frames of a game, until one brings something: none waits for the trainer. One comes each
/// millisecond or, if they are to be led, for each line on the standard input; then it says "frame".
template <typename Client>
News tick(Client& client, bool is_led) {
  for (;;) {
    std::string line;
    if (is_led && !std::getline(std::cin, line)) std::exit(3);
    const News news = client.poll();
    if (is_led) {
      std::printf("frame %d\n", static_cast<int>(news));
      std::fflush(stdout);
    }
    if (news != News::nothing) return news;
    if (!is_led) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

bool is_late(const entrain::Client&) { return false; }
bool is_late(const entrain::RealTimeClient& client) { return client.is_late(); }

/// What the runners and the chooser do now: "late" or "taken", then their numbers.
template <typename Client>
void say_actions(const Client& client) {
  std::printf(is_late(client) ? "late" : "taken");
  for (std::size_t i = 0; i < client.actions(0).size(); ++i) {
    std::printf(" %g", static_cast<double>(client.actions(0).continuous(i)[0]));
  }
  for (std::size_t i = 0; i < client.actions(1).size(); ++i) {
    std::printf(" %d,%d", client.actions(1).discrete(i)[0], client.actions(1).discrete(i)[1]);
  }
  std::printf("\n");
}

/// Asks for what there is not, and uses it, as a beginner's game may.
template <typename Client>
void ask_wrongly(Client& client, const std::string& what) {
  float sum = 0.0f;
  if (what == "agent") sum += static_cast<float>(client.actions(1).discrete(5)[1]);
  if (what == "continuous") sum += client.actions(1).continuous(0)[3];
  if (what == "actions") sum += client.actions(2).continuous(0)[0];
  if (what == "rows") client.rows(2).first(1).observe({1.0f}).forbid(1);
  if (what == "floats") client.rows(0).mid(0, 0.0f).observe({1.0f, 2.0f, 3.0f});
  if (sum != 0.0f) std::printf("sum %g\n", static_cast<double>(sum));
}

std::vector<entrain::Behaviour> behaviours(std::map<std::string, std::string>& given) {
  std::vector<entrain::Behaviour> made = World::behaviours();
  for (entrain::Behaviour& each : made) {
    each.deadline_ms = static_cast<std::uint32_t>(number(given, "deadline", 0));
    each.fallback = static_cast<entrain::Fallback>(static_cast<int>(number(given, "fallback", 0)));
  }
  return made;
}

template <typename Client>
int play(const char* address, std::map<std::string, std::string> given) {
  const auto steps = static_cast<std::uint64_t>(number(given, "steps", 10));
  const auto warm = static_cast<std::uint64_t>(number(given, "warm", 10));
  const bool is_led = given["use"] == "frames";
  const bool is_polling = is_led || given["use"] == "poll";
  World world(static_cast<int>(number(given, "agents", 3)), number(given, "descending", 0) > 0);
  Extras extras;
  const bool has_extras = number(given, "extras", 0) > 0;
  const int reports = static_cast<int>(number(given, "reports", 0));
  const bool sends_twice = number(given, "twice", 0) > 0;
  const bool idles = number(given, "idles", 0) > 0;
  Client client(client_options(address, given), behaviours(given));
  const bool says_actions = number(given, "says", 0) > 0;
  std::uint64_t taken = 0, before = 0;
  double since_s = used_s();
  News news = is_polling ? tick(client, is_led) : client.connect();
  while (news != News::over) {
    if (news == News::begin) {
      std::printf("begin %llu %g\n", static_cast<unsigned long long>(client.seed()),
                  static_cast<double>(client.parameter("gravity", 0.0f)));
      world.reset();
      extras.reset();
      extras.begin();
    } else {
      ++taken;
      if (says_actions) say_actions(client);
      ask_wrongly(client, given["asks"]);
    }
    // The second Step may still be larger than the first: from then on nothing is allocated. Late
    // Steps hold what happened in several, so that the largest comes later.
    if (taken == warm) {
      before = allocated_bytes;
      since_s = used_s();
    }
    if (taken == steps && idles) {
      // As in a menu: no Step waits, and frames go on.
      while (tick(client, is_led) != News::over) {
      }
    }
    if (taken == steps) break;
    world.write(client);
    if (has_extras) extras.write(client);
    for (int i = 0; i < reports; ++i) client.report("speed", 1.0);
    if (is_polling) client.send();
    if (sends_twice) world.write(client);
    if (sends_twice) client.send();
    news = is_polling ? tick(client, is_led) : client.exchange();
  }
  const double used = used_s() - since_s;
  const std::uint64_t allocated = allocated_bytes - before;
  std::printf("acted %zu %g %d\n", client.actions(0).size(),
              client.actions(0).size() == 0
                  ? -1.0
                  : static_cast<double>(client.actions(0).continuous(client.actions(0).size() - 1)[0]),
              client.actions(1).size() == 0 ? -1 : client.actions(1).discrete(0)[1]);
  std::printf("parameter %g\n", static_cast<double>(client.parameter("gravity", 0.0f)));
  std::printf("allocated %llu\n", static_cast<unsigned long long>(allocated));
  std::printf("microseconds %g\n", taken > warm ? 1e6 * used / static_cast<double>(taken - warm) : 0.0);
  client.leave("done");
  std::printf("over %d %s\n", static_cast<int>(client.ending()), client.words().c_str());
  return client.exit_code();
}

int play(const char* address, const std::map<std::string, std::string>& given) {
  return given.count("deadline") == 0 ? play<entrain::Client>(address, given)
                                      : play<entrain::RealTimeClient>(address, given);
}

int codec() {
  probe::Codec lines;
  for (std::string line; std::getline(std::cin, line);) {
    const std::string answer = lines.answer(line);
    if (!answer.empty()) std::printf("%s\n", answer.c_str());
  }
  return 0;
}

}  // namespace

// Not inlined, or g++ takes what is freed for something that another function allocated.
[[gnu::noinline]] void* operator new(std::size_t size) {
  allocated_bytes += size;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

int main(int count, char** words) {
  const std::string what = count > 1 ? words[1] : "";
  if (what == "codec") return codec();
  if (what == "play" && count > 2) {
    auto given = options_in(count, words);
    const int clients = static_cast<int>(number(given, "clients", 1));
    if (clients == 1) return play(words[2], given);
    int worst = 0;
    std::vector<std::thread> threads;
    std::vector<int> codes(static_cast<std::size_t>(clients));
    for (int& code : codes) threads.emplace_back([&code, words, given] { code = play(words[2], given); });
    for (std::thread& thread : threads) thread.join();
    for (const int code : codes) worst = std::max(worst, code);
    return worst;
  }
  std::fprintf(stderr, "usage: probe codec | probe play ADDRESS [name=value ...]\n");
  return 2;
}
