// Sixteen carts learn to keep their poles up: all that connects the game to a trainer.
#include <deque>

#include "cart_pole.hpp"
#include "entrain/client.hpp"

int main(int count, char** words) {
  const entrain::Behaviour cart{"cart", {{"state", {4}}}, {{-1.0f}, {1.0f}, {}}};
  entrain::Client client(entrain::options_for(count > 1 ? words[1] : "", "carts"), {cart});
  std::deque<CartPole> carts;
  for (unsigned i = 0; i < 16; ++i) carts.emplace_back(i);
  entrain::News news = client.connect();
  for (; news != entrain::News::over; news = client.exchange()) {
    for (std::size_t i = 0; i < carts.size(); ++i) {
      bool begins = news == entrain::News::begin;
      if (!begins) {
        carts[i].step(client.actions().continuous(i)[0]);
        begins = carts[i].has_fallen() || carts[i].is_over();
        if (carts[i].has_fallen()) client.rows().terminated(i, 0.0f).observe(carts[i].state());
        else if (begins) client.rows().truncated(i, 1.0f).observe(carts[i].state());
        else client.rows().mid(i, 1.0f).observe(carts[i].state());
      }
      if (begins) carts[i].reset();
      if (begins) client.rows().first(i).observe(carts[i].state());
    }
  }
  return client.exit_code();
}
