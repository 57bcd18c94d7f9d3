// Writes and reads messages as lines of words say, for a test that compares bytes.
//
// Texts are hexadecimal with a dot before them, so that an empty one is a word.
#pragma once

#include <cstdio>
#include <deque>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "entrain/digest.hpp"
#include "entrain/frames.hpp"
#include "entrain/late_rows.hpp"
#include "entrain/messages.hpp"
#include "entrain/step.hpp"
#include "fake_stream.hpp"
#include "parts.hpp"
#include "words.hpp"

namespace probe {

/// Keeps what lines say until one asks for the bytes.
class Codec {
 public:
  std::string answer(const std::string& line) {
    Words words(line);
    const std::string what = words.word();
    if (what == "read") return read(words.text());
    if (what == "standing") return standing(words.text());
    if (what == "goodbye") return goodbye(words.text());
    if (what == "inquiry") return inquiry(words);
    if (what == "merge") return merge(words);
    if (what == "varint") return varint(words.number());
    if (what == "sha1") return sha1(words.text());
    if (what == "frame") return frame(words);
    if (what == "frames") return frames(words);
    if (what == "ends") return ended_while_sending(words.word());
    if (what == "milliseconds") return std::to_string(entrain::milliseconds_of(words.real()));
    if (what == "take") return take(words, hello_.behaviours);
    if (what == "forbids") return forbids_all();
    if (what == "stays") return stays();
    if (what == "hello") return begin_hello(words);
    if (what == "step") return begin_step(words);
    if (what == "end") return end();
    return what == "row" || in_row(what) ? row(what, words) : spec(what, words);
  }

 private:
  /// "merge begin", "merge add AGENTS" (whose action came too late, ascending: 1,2 or -), then
  /// "agent:type:reward:group reward:seen" for each row, or "merge take", which is answered with such
  /// words and "late" behind each.
  std::string merge(Words& words) {
    const std::string what = words.word();
    const entrain::Behaviour behaviour{"bug", {{"seen", {1}}}, {{}, {}, {2}}};
    if (what == "begin") late_ = std::make_unique<entrain::LateRows>(behaviour);
    if (what == "begin") return "";
    entrain::Rows rows(behaviour);
    if (what == "add") {
      std::istringstream agents(words.word());
      std::vector<std::int64_t> too_late;
      for (std::string agent; std::getline(agents, agent, ',');) {
        if (agent != "-") too_late.push_back(std::stoll(agent));
      }
      for (std::string word; words.next(word);) add_row(rows, word);
      late_->add(rows, too_late);
      return "";
    }
    late_->take(rows);
    std::ostringstream said;
    said << "due";
    for (std::size_t i = 0; i < rows.size(); ++i) {
      entrain::Row row = rows.row(i);
      said << ' ' << rows.agent(i) << ':' << static_cast<int>(rows.type(i)) << ':'
           << rows.reward(i) << ':' << rows.group_reward(i) << ':' << row.floats()[0] << ':'
           << rows.allows(i, 1) << ':' << rows.is_late(i);
    }
    return said.str();
  }

  static void add_row(entrain::Rows& rows, const std::string& word) {
    std::istringstream numbers(word);
    std::vector<double> parts;
    for (std::string part; std::getline(numbers, part, ':');) parts.push_back(std::stod(part));
    entrain::Row row = rows.add(static_cast<std::int64_t>(parts[0]),
                                static_cast<entrain::StepType>(static_cast<int>(parts[1])),
                                static_cast<float>(parts[2]));
    row.group(1, static_cast<float>(parts[3])).observe({static_cast<float>(parts[4])});
    if (parts[5] == 0.0) row.forbid(1);
  }

  std::unique_ptr<entrain::LateRows> late_;
  static bool in_row(const std::string& what) {
    return what == "floats" || what == "bytes" || what == "forbid" || what == "group" ||
           what == "late" || what == "rows" || what == "statistic" || what == "declare";
  }

  std::string begin_hello(Words& words) {
    hello_ = {};
    rows_.clear();
    hello_.simulator = words.text();
    hello_.instance_id = words.text();
    hello_.max_agents = static_cast<std::uint32_t>(words.number());
    hello_.resume_session_id = words.text();
    hello_.role = static_cast<entrain::Role>(words.number());
    is_step_ = false;
    return "";
  }

  /// Of the behaviours that the hello before had.
  std::string begin_step(Words& words) {
    sequence_ = words.number();
    rows_.clear();
    for (const auto& behaviour : hello_.behaviours) rows_.emplace_back(behaviour);
    declared_.clear();
    statistics_ = {};
    is_step_ = true;
    return "";
  }

  std::string end() {
    Bytes bytes;
    if (is_step_) {
      entrain::write_step(bytes, sequence_, rows_, declared_, statistics_);
    } else {
      entrain::messages::write(bytes, hello_);
    }
    return hex(bytes);
  }

  std::string spec(const std::string& what, Words& words) {
    if (what == "behaviour") {
      hello_.behaviours.push_back({words.text(), {}, {}});
      hello_.behaviours.back().deadline_ms = static_cast<std::uint32_t>(words.number());
      hello_.behaviours.back().fallback = static_cast<entrain::Fallback>(words.number());
      return "";
    }
    entrain::Behaviour& behaviour = hello_.behaviours.back();
    if (what == "observation") {
      behaviour.observations.push_back({words.text()});
      behaviour.observations.back().dtype = static_cast<entrain::Dtype>(words.number());
      behaviour.observations.back().kind = static_cast<entrain::Kind>(words.number());
    }
    if (what == "shape") behaviour.observations.back().shape = words.rest<std::uint32_t>();
    if (what == "low") behaviour.observations.back().low = words.rest<double>();
    if (what == "high") behaviour.observations.back().high = words.rest<double>();
    if (what == "action_low") behaviour.action.low = words.rest<float>();
    if (what == "action_high") behaviour.action.high = words.rest<float>();
    if (what == "branches") behaviour.action.branches = words.rest<std::uint32_t>();
    return "";
  }

  std::string row(const std::string& what, Words& words) {
    if (what == "rows") current_ = words.number();
    if (what == "statistic") {
      const std::string name = words.text();
      const auto aggregation = static_cast<entrain::Aggregation>(words.number());
      for (const double value : words.rest<double>()) {
        statistics_.report(name, value, aggregation);
      }
    }
    if (what == "declare") declare(words.number());
    if (what == "row") {
      const std::int64_t agent = words.integer();
      const auto type = static_cast<entrain::StepType>(words.number());
      latest_.assign(1, rows_[current_].add(agent, type, words.real()));
    }
    if (what == "floats") {
      float* to = latest_[0].floats(words.number());
      fill(to, words.rest<float>());
    }
    if (what == "bytes") {
      std::uint8_t* to = latest_[0].bytes(words.number());
      fill(to, words.rest<std::uint8_t>());
    }
    if (what == "forbid") {
      const std::size_t branch = words.number();
      latest_[0].forbid(words.number(), branch);
    }
    if (what == "group") {
      const std::int64_t id = words.integer();
      latest_[0].group(id, words.real());
    }
    if (what == "late") latest_[0].late();
    return "";
  }

  void declare(std::size_t behaviour) {
    declared_.emplace_back();
    entrain::protobuf::Writer writer(declared_.back());
    entrain::messages::write(writer, hello_.behaviours[behaviour]);
  }

  template <typename Number>
  static void fill(Number* to, const std::vector<Number>& values) {
    std::copy(values.begin(), values.end(), to);
  }

  static std::string goodbye(const std::string& reason) {
    Bytes bytes;
    entrain::messages::write_goodbye(bytes, reason);
    return hex(bytes);
  }

  static std::string inquiry(Words& words) {
    const std::string session = words.text(), instance = words.text();
    Bytes bytes;
    entrain::messages::write_inquiry(bytes, session, instance, words.number());
    return hex(bytes);
  }

  static std::string standing(const std::string& bytes) {
    return std::to_string(static_cast<int>(entrain::messages::read_standing(View(bytes))));
  }

  /// The number as field 1, with its tag; and what is read back.
  static std::string varint(std::uint64_t number) {
    Bytes bytes;
    entrain::protobuf::Writer(bytes).number(1, number);
    entrain::protobuf::Reader reader{View(bytes)};
    entrain::protobuf::Field field;
    reader.next(field);
    return hex(bytes) + " " + std::to_string(field.value);
  }

  static std::string sha1(const std::string& text) {
    const auto digest = entrain::Sha1::of(text);
    return hex({digest.data(), digest.size()}) + " " + entrain::base64(digest.data(), 20) + " " +
           entrain::base64(digest.data(), 19);
  }

  /// A frame of so many bytes 0, 1, 2, ... with a mask.
  static std::string frame(Words& words) {
    const auto key = static_cast<std::uint32_t>(words.number());
    const std::string content = words.text();
    Bytes bytes;
    entrain::append_frame(bytes, entrain::Opcode::binary, View(content), key);
    return hex(bytes);
  }

  /// What a reader finds in bytes that come in pieces of a size.
  static std::string frames(Words& words) {
    const std::size_t most = words.number(), piece = words.number();
    const std::string bytes = words.text();
    entrain::FrameReader reader(most);
    std::string found;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      View rest(bytes.data() + at, std::min(piece, bytes.size() - at));
      while (rest.size > 0) {
        using Found = entrain::FrameReader::Found;
        const Found what = reader.take(rest);
        if (what == Found::message) found += " message" + hex(reader.message());
        if (what == Found::ping) found += " ping" + hex(reader.control());
        if (what == Found::close) found += " close" + hex(reader.control());
        if (what == Found::fault) return found + " fault " + std::to_string(reader.fault_code());
      }
    }
    return found;
  }

  static std::string read(const std::string& bytes) {
    View content;
    const entrain::Response response = entrain::messages::read_response(View(bytes), content);
    if (response == entrain::Response::welcome) return welcome(content);
    if (response == entrain::Response::act) return act(content);
    if (response == entrain::Response::damaged) return "damaged";
    if (response == entrain::Response::none) return "none";
    std::uint64_t number = 0;
    std::string text;
    if (!entrain::messages::read_numbered(content, number, text)) return "damaged";
    const char* name = response == entrain::Response::close ? "close " : "refusal ";
    return name + std::to_string(number) + " " + hex(View(text));
  }

  static std::string bits(float value) { return hex({&value, sizeof value}); }

  static std::string welcome(View content) {
    entrain::Welcome welcome;
    if (!entrain::messages::read(content, welcome)) return "damaged";
    std::ostringstream out;
    out << "welcome " << welcome.version << " " << hex(View(welcome.session_id)) << " "
        << hex(View(welcome.run_id)) << " " << welcome.seed << " " << welcome.resumed << " "
        << bits(welcome.grace_s) << " " << welcome.max_message_bytes << " " << welcome.revision;
    for (const auto& [name, value] : welcome.parameters) {
      out << " " << hex(View(name)) << " " << bits(value);
    }
    return out.str();
  }

  static std::string act(View content) {
    entrain::Act act;
    if (!entrain::messages::read(content, act)) return "damaged";
    std::ostringstream out;
    out << "act " << act.sequence;
    for (const auto& part : act.parts) {
      out << " part " << hex(View(part.behaviour)) << " " << hex(part.continuous) << " "
          << hex(part.discrete) << " " << part.policy_version;
    }
    for (const auto& [name, value] : act.parameters) {
      out << " parameter " << hex(View(name)) << " " << bits(value);
    }
    return out.str();
  }

  entrain::Hello hello_;
  std::deque<entrain::Rows> rows_;
  std::vector<entrain::Row> latest_;
  std::vector<Bytes> declared_;
  entrain::Statistics statistics_;
  std::uint64_t sequence_ = 0;
  std::size_t current_ = 0;
  bool is_step_ = false;
};

}  // namespace probe
