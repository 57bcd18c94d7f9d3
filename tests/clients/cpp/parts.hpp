// Parts of the client, each by itself, as lines of words ask for them.
#pragma once

#include <string>
#include <vector>

#include "entrain/real_time.hpp"
#include "words.hpp"

namespace probe {

/// "taken", or why the actions of an Act do not fit so many rows of each behaviour that it names.
inline std::string take(Words& words, const std::vector<entrain::Behaviour>& behaviours) {
  const std::size_t count = words.number();
  const std::string bytes = words.text();
  View content;
  entrain::Act act;
  entrain::messages::read_response(View(bytes), content);
  if (!entrain::messages::read(content, act)) return "damaged";
  for (const entrain::Behaviour& behaviour : behaviours) {
    for (const entrain::ActPart& part : act.parts) {
      if (part.behaviour != behaviour.name) continue;
      entrain::Actions actions(behaviour);
      actions.expect(std::vector<std::int64_t>(count, 7));
      if (!actions.take(part)) return actions.misfit();
    }
  }
  return "taken";
}

/// What a fallback chooses where a row forbids all: the trainer will refuse the row.
inline std::string forbids_all() {
  const entrain::Behaviour behaviour{"bug", {}, {{}, {}, {2}}};
  entrain::FallbackActions fallback(behaviour);
  entrain::Rows rows(behaviour);
  rows.first(3).forbid(0).forbid(1);
  fallback.see(rows);
  fallback.act();
  return std::to_string(fallback.actions().size()) + " " +
         std::to_string(fallback.actions().discrete(0)[0]);
}

/// Whether what a client gave stays where it is when it is told of more behaviours.
template <typename Client>
bool stays_in() {
  const auto bug = [](const char* name) {
    return entrain::Behaviour{name, {{"x", {1}}}, {{}, {}, {2}}};
  };
  entrain::Options options;
  options.log = [](const std::string&) {};
  Client client(options, {bug("a")});
  const auto* rows = &client.rows();
  const auto* actions = &client.actions();
  for (const char* name : {"b", "c", "d"}) client.add(bug(name));
  return rows == &client.rows() && actions == &client.actions();
}

inline std::string stays() {
  return stays_in<entrain::Client>() && stays_in<entrain::RealTimeClient>() ? "yes" : "no";
}

}  // namespace probe
