// The trainer's messages (proto/entrain/v1/trainer.proto), written and read by hand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "entrain/protobuf.hpp"
#include "entrain/role.hpp"
#include "entrain/spec.hpp"

namespace entrain {

constexpr std::uint32_t protocol_version = 1;

/// First on every stream: who dials, and what it will send.
struct Hello {
  std::string simulator;
  std::string instance_id;
  std::vector<Behaviour> behaviours;
  std::uint32_t max_agents = 0;
  std::string resume_session_id;
  Role role = Role::training;
};

/// A number that the trainer sets and the simulator interprets, such as gravity.
using Parameter = std::pair<std::string, float>;

/// The trainer's answer to Hello.
struct Welcome {
  std::uint32_t version = 0;
  std::string session_id;
  std::string run_id;
  std::uint64_t seed = 0;
  std::vector<Parameter> parameters;
  bool resumed = false;
  float grace_s = 0.0f;
  std::uint64_t max_message_bytes = 0;
  std::uint32_t revision = 0;
};

/// Actions of one behaviour; what it points to lies in the message.
struct ActPart {
  std::string_view behaviour;
  View continuous;
  View discrete;
  std::uint64_t policy_version = 0;
};

/// Actions for one Step. Read again and again into one object, which keeps its memory.
struct Act {
  std::uint64_t sequence = 0;
  std::vector<ActPart> parts;
  std::vector<std::pair<std::string_view, float>> parameters;
};

enum class CloseReason : std::uint8_t { unspecified = 0, completed = 1, stopped = 2 };

/// What came from the trainer.
enum class Response : std::uint8_t { none, welcome, act, close, refusal, damaged };

/// How a Step stands with the trainer.
enum class StepStanding : std::uint8_t { unspecified = 0, not_held = 1, held = 2, answered = 3 };

namespace messages {

using protobuf::Field;
using protobuf::Reader;
using protobuf::Type;
using protobuf::Writer;

inline void write(Writer& writer, const Observation& observation) {
  writer.text(1, observation.name);
  writer.packed_varints(2, observation.shape);
  writer.number(3, static_cast<std::uint64_t>(observation.dtype));
  writer.number(4, static_cast<std::uint64_t>(observation.kind));
  writer.packed(5, observation.low);
  writer.packed(6, observation.high);
}

inline void write(Writer& writer, const Action& action) {
  writer.packed(1, action.low);
  writer.packed(2, action.high);
  writer.packed_varints(3, action.branches);
}

inline void write(Writer& writer, const Behaviour& behaviour) {
  writer.text(1, behaviour.name);
  for (const Observation& observation : behaviour.observations) {
    writer.message(2, [&](Writer& inner) { write(inner, observation); });
  }
  writer.message(3, [&](Writer& inner) { write(inner, behaviour.action); });
  writer.number(4, behaviour.deadline_ms);
  writer.number(5, static_cast<std::uint64_t>(behaviour.fallback));
}

/// A ConnectRequest with a Hello, appended to `out`.
inline void write(Bytes& out, const Hello& hello) {
  Writer(out).message(1, [&](Writer& writer) {
    writer.number(1, protocol_version);
    writer.number(2, protocol_version);
    writer.text(3, hello.simulator);
    writer.text(4, hello.instance_id);
    for (const Behaviour& behaviour : hello.behaviours) {
      writer.message(5, [&](Writer& inner) { write(inner, behaviour); });
    }
    writer.number(6, hello.max_agents);
    writer.text(7, hello.resume_session_id);
    writer.number(9, static_cast<std::uint64_t>(hello.role));
  });
}

/// A ConnectRequest with a Goodbye, appended to `out`.
inline void write_goodbye(Bytes& out, std::string_view reason) {
  Writer(out).message(3, [&](Writer& writer) { writer.text(1, reason); });
}

/// An InquireRequest, appended to `out`.
inline void write_inquiry(Bytes& out, std::string_view session_id, std::string_view instance_id,
                          std::uint64_t sequence) {
  Writer writer(out);
  writer.text(1, session_id);
  writer.text(2, instance_id);
  writer.number(3, sequence);
}

/// Calls `take(field)` for each field, until it says false. False then, and if the message is
/// damaged.
template <typename Take>
bool each_field(View message, Take&& take) {
  Reader reader(message);
  Field field;
  while (reader.next(field)) {
    if (!take(field)) return false;
  }
  return !reader.is_damaged();
}

/// Takes a text; false if it is none.
template <typename Text>
bool take_text(const Field& field, Text& text) {
  text = field.content.text();
  return protobuf::is_utf8(field.content);
}

/// What kind of ConnectResponse it is; `content` is what it holds.
inline Response read_response(View message, View& content) {
  Response response = Response::none;
  const bool is_whole = each_field(message, [&](const Field& field) {
    if (field.type != Type::length || field.number > 4) return true;
    response = static_cast<Response>(field.number);
    content = field.content;
    return true;
  });
  return is_whole ? response : Response::damaged;
}

/// Sets a parameter, as of a map: the one that comes last counts.
template <typename Parameters>
void put(Parameters& parameters, std::string_view name, float value) {
  for (auto& [known, its_value] : parameters) {
    if (known != name) continue;
    its_value = value;
    return;
  }
  parameters.emplace_back(name, value);
}

inline bool read_parameter(View message, std::string_view& name, float& value) {
  name = {};
  value = 0.0f;
  return each_field(message, [&](const Field& field) {
    if (field.is(1, Type::length)) return take_text(field, name);
    if (field.is(2, Type::fixed32)) value = field.real();
    return true;
  });
}

inline bool read(View message, Welcome& welcome) {
  welcome = Welcome();
  return each_field(message, [&](const Field& field) {
    if (field.is(1, Type::varint)) welcome.version = static_cast<std::uint32_t>(field.value);
    if (field.is(2, Type::length)) return take_text(field, welcome.session_id);
    if (field.is(3, Type::length)) return take_text(field, welcome.run_id);
    if (field.is(4, Type::varint)) welcome.seed = field.value;
    if (field.is(5, Type::length)) {
      std::string_view name;
      float value = 0.0f;
      if (!read_parameter(field.content, name, value)) return false;
      put(welcome.parameters, name, value);
    }
    if (field.is(7, Type::varint)) welcome.resumed = field.value != 0;
    if (field.is(8, Type::fixed32)) welcome.grace_s = field.real();
    if (field.is(9, Type::varint)) welcome.max_message_bytes = field.value;
    if (field.is(10, Type::varint)) welcome.revision = static_cast<std::uint32_t>(field.value);
    return true;
  });
}

inline bool read(View message, ActPart& part) {
  part = ActPart();
  return each_field(message, [&](const Field& field) {
    if (field.is(1, Type::length)) return take_text(field, part.behaviour);
    if (field.is(2, Type::length)) part.continuous = field.content;
    if (field.is(3, Type::length)) part.discrete = field.content;
    if (field.is(4, Type::varint)) part.policy_version = field.value;
    return true;
  });
}

inline bool read(View message, Act& act) {
  act.sequence = 0;
  act.parts.clear();
  act.parameters.clear();
  return each_field(message, [&](const Field& field) {
    if (field.is(1, Type::varint)) act.sequence = field.value;
    if (field.is(2, Type::length)) {
      act.parts.emplace_back();
      return read(field.content, act.parts.back());
    }
    if (field.is(3, Type::length)) {
      std::string_view name;
      float value = 0.0f;
      if (!read_parameter(field.content, name, value)) return false;
      put(act.parameters, name, value);
    }
    return true;
  });
}

/// A Close or a Refusal: a number and words.
inline bool read_numbered(View message, std::uint64_t& number, std::string& words) {
  number = 0;
  words.clear();
  return each_field(message, [&](const Field& field) {
    if (field.is(1, Type::varint)) number = field.value;
    return field.is(2, Type::length) ? take_text(field, words) : true;
  });
}

/// An InquireResponse; unspecified if it says nothing that is known here.
inline StepStanding read_standing(View message) {
  std::uint64_t standing = 0;
  const bool is_whole = each_field(message, [&](const Field& field) {
    if (field.is(1, Type::varint)) standing = field.value;
    return true;
  });
  const bool is_known = is_whole && standing <= 3;
  return is_known ? static_cast<StepStanding>(standing) : StepStanding::unspecified;
}

}  // namespace messages
}  // namespace entrain
