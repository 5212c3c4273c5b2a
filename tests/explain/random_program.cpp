#include "tests/explain/random_program.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace foretoken::test {

using plan::OpKind;

TinyProgram random_program(unsigned seed, const RandomProgramOptions& options) {
  std::mt19937 random(seed);
  const auto draw = [&](int from, int to) { return std::uniform_int_distribution<int>(from, to)(random); };
  const std::int64_t ranks = 2 * draw(1, 3);
  TinyProgram program(ranks);
  const GroupId all = program.group(ranks);
  const GroupId pairs = program.group(2);
  const std::vector<OpKind> kinds{OpKind::all_gather, OpKind::all_reduce, OpKind::send, OpKind::dispatch,
                                  OpKind::combine};
  std::vector<std::pair<OpKind, CommunicationId>> communications;
  for (int c = draw(1, 5); c > 0; --c) {
    const OpKind kind = kinds[static_cast<std::size_t>(draw(0, options.exchanges ? 4 : 2))];
    const GroupId group = kind == OpKind::send ? GroupId() : draw(0, 1) == 0 && kind < OpKind::dispatch ? pairs : all;
    communications.emplace_back(kind, program.communication(kind, group));
  }
  for (int p = draw(0, 8); p > 0; --p) {
    const plan::PairRows pair{draw(0, static_cast<int>(ranks) - 1), draw(0, static_cast<int>(ranks) - 1), draw(1, 9)};
    const auto same = [&](const plan::PairRows& other) {
      return other.source == pair.source && other.host == pair.host;
    };
    if (std::none_of(program.pairs.begin(), program.pairs.end(), same)) program.pairs.push_back(pair);
  }
  for (std::int32_t rank = 0; rank < ranks; ++rank) {
    const std::size_t role = program.role({rank});
    const double unit_us = rank % 2 == 0 ? options.even_ranks_compute_us : 1;
    std::vector<OpId> before;
    int name = 0;
    const auto place = [&](plan::Stream stream) {
      Place result{{}, stream};
      if (!before.empty() && draw(0, 2) > 0)
        result.after.push_back({before[static_cast<std::size_t>(draw(0, static_cast<int>(before.size()) - 1))], 0});
      return result;
    };
    const auto compute = [&] {
      for (int n = draw(0, 3); n > 0; --n) {
        const double us = unit_us * draw(0, 20);
        before.push_back(program.compute(role, "r" + std::to_string(rank) + "c" + std::to_string(name++), us,
                                         place(draw(0, 1) == 0 ? plan::kCompute : plan::Stream{4})));
      }
    };
    for (const auto& [kind, communication] : communications) {
      compute();
      // One stream carries all communication, so that no two ranks take it up in different orders.
      const Place where = place(plan::kCommunication);
      const std::string called = "m" + std::to_string(communication.value());
      if (kind == OpKind::send)
        before.push_back(rank % 2 == 0 ? program.send(role, called, communication, 1, 700, where)
                                       : program.recv(role, called, communication, -1, 700, where));
      else if (kind == OpKind::dispatch || kind == OpKind::combine)
        before.push_back(program.exchange(role, called, communication, where));
      else before.push_back(program.collective(role, called, communication, 3000, where));
    }
    compute();
    Place last{{}, plan::kCompute};
    for (const OpId op : before) last.after.push_back({op, 0});
    program.step_end(role, last);
  }
  return program;
}

}  // namespace foretoken::test
