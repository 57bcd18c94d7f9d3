// What a simulator's agents are for: training, or evaluations, of which nothing is learned.
#pragma once

#include <cstdint>
#include <string_view>

namespace entrain {

/// From this revision on trainers know of roles; earlier ones learn from everyone.
constexpr std::uint32_t roles_revision = 3;

/// See the file. `unknown` is never sent.
enum class Role : std::uint8_t { training = 0, evaluation = 1, unknown };

/// The role of that name; training if it is empty.
inline Role role_of(std::string_view name) {
  if (name.empty() || name == "training") return Role::training;
  return name == "evaluation" ? Role::evaluation : Role::unknown;
}

}  // namespace entrain
