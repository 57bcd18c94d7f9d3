// A Step as it goes over the wire: the rows of all behaviours, and numbers for people.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "entrain/protobuf.hpp"
#include "entrain/rows.hpp"

namespace entrain {

/// What becomes of a statistic's values between two updates.
enum class Aggregation : std::uint8_t { mean = 1, last = 2, sum = 3, histogram = 4 };

/// Numbers that the trainer shows beside its own metrics. They change nothing in what is learned.
class Statistics {
 public:
  /// In one Step; more would make that of a game that waits for hours too long.
  static constexpr std::size_t most_values = 10'000;

  /// False if it is left out, for there are as many as a Step may have.
  bool report(std::string_view name, double value, Aggregation aggregation) {
    if (num_values_ == most_values) return false;
    ++num_values_;
    for (Statistic& known : all_) {
      if (known.name != name) continue;
      known.values.push_back(value);
      return true;
    }
    all_.push_back({std::string(name), aggregation, {value}});
    return true;
  }

  void clear() {
    num_values_ = 0;
    for (Statistic& statistic : all_) statistic.values.clear();
  }

  std::size_t wire_size() const {
    std::size_t size = 0;
    for (const Statistic& statistic : all_) size += protobuf::field_size(statistic.wire_size());
    return size;
  }

  void write(protobuf::Writer& writer) const {
    for (const Statistic& statistic : all_) {
      if (statistic.values.empty()) continue;
      writer.head(4, statistic.wire_size());
      writer.text(1, statistic.name);
      writer.number(2, static_cast<std::uint64_t>(statistic.aggregation));
      writer.packed(3, statistic.values);
    }
  }

 private:
  struct Statistic {
    std::string name;
    Aggregation aggregation;
    std::vector<double> values;

    std::size_t wire_size() const {
      if (values.empty()) return 0;
      return protobuf::field_size(name.size()) +
             protobuf::number_size(static_cast<std::uint64_t>(aggregation)) +
             protobuf::field_size(values.size() * sizeof(double));
    }
  };

  std::vector<Statistic> all_;
  std::size_t num_values_ = 0;
};

/// A ConnectRequest with a Step, appended to `out`. Behaviours without rows are left out.
/// `declared` are the BehaviourSpecs of kinds of agents that Hello did not name, each written.
inline void write_step(Bytes& out, std::uint64_t sequence, const std::deque<Rows>& behaviours,
                       const std::vector<Bytes>& declared, const Statistics& statistics) {
  std::size_t size = protobuf::number_size(sequence) + statistics.wire_size();
  for (const Bytes& spec : declared) size += protobuf::field_size(spec.size());
  for (const Rows& rows : behaviours) {
    if (rows.size() > 0) size += protobuf::field_size(rows.wire_size());
  }
  make_room(out, 1 + protobuf::varint_size(size) + size);
  protobuf::Writer writer(out);
  writer.head(2, size);
  writer.number(1, sequence);
  for (const Rows& rows : behaviours) {
    if (rows.size() == 0) continue;
    writer.head(2, rows.wire_size());
    rows.write(writer);
  }
  for (const Bytes& spec : declared) writer.entry(3, spec);
  statistics.write(writer);
}

}  // namespace entrain
