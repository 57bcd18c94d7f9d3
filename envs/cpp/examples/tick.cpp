// A game with a picture: the engine calls Tick once a frame, as Unreal does, and Tick never waits.
//
//     tick ADDRESS [frames a second]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "cart_pole.hpp"
#include "entrain/client.hpp"

/// What would be an Actor in Unreal. The cart stands still in frames without an action.
class CartActor {
 public:
  explicit CartActor(const entrain::Options& options)
      : client_(options, {{"cart", {{"state", {4}}}, {{-1.0f}, {1.0f}, {}}}}) {}

  void Tick() {
    const entrain::News news = client_.poll();
    wants_to_quit = news == entrain::News::over;
    if (news == entrain::News::nothing || wants_to_quit) return;
    if (news == entrain::News::actions) {
      cart_.step(client_.actions().continuous(0)[0]);
      const bool fell = cart_.has_fallen(), is_over = fell || cart_.is_over();
      entrain::Row row = fell      ? client_.rows().terminated(0, 0.0f)
                         : is_over ? client_.rows().truncated(0, 1.0f)
                                   : client_.rows().mid(0, 1.0f);
      row.observe(cart_.state());
      if (is_over) Begin();
    } else {
      Begin();
    }
    client_.send();
    ++decisions;
  }

  void EndPlay() { client_.leave("the level is over"); }
  int exit_code() const { return client_.exit_code(); }

  bool wants_to_quit = false;
  int decisions = 0;

 private:
  void Begin() {
    cart_.reset();
    client_.rows().first(0).observe(cart_.state());
  }

  CartPole cart_;
  entrain::Client client_;
};

int main(int count, char** words) {
  using Clock = std::chrono::steady_clock;
  CartActor actor(entrain::options_for(count > 1 ? words[1] : "", "cart with a picture"));
  const std::chrono::duration<double> frame(1.0 / (count > 2 ? std::atof(words[2]) : 60.0));
  int frames = 0;
  Clock::duration longest{};
  for (auto next = Clock::now(); !actor.wants_to_quit; ++frames) {
    const auto begin = Clock::now();
    actor.Tick();
    longest = std::max(longest, Clock::now() - begin);
    next += std::chrono::duration_cast<Clock::duration>(frame);
    std::this_thread::sleep_until(next);
  }
  actor.EndPlay();
  std::printf("%d frames, %d decisions, the longest Tick took %.3f ms\n", frames, actor.decisions,
              1e3 * std::chrono::duration<double>(longest).count());
  return actor.exit_code();
}
