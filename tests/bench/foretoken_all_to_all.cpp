// foretoken's solver on an all-to-all of tests/sim/network/all_to_all.hpp, once, in a fresh process.
//
//   foretoken_all_to_all --ranks N --nodes-per-leaf L --workload U|K|Z [--emit flows|classes] [--accuracy E]
//                        [--times FILE] [--against FILE]
//
// CPU seconds are of solving, with the flows in memory; with --emit classes, of finding the classes as well.
#include <algorithm>
#include <cmath>
#include <exception>

#include "tests/bench/measured.hpp"
#include "tests/sim/network/all_to_all_classes.hpp"
#include "tests/sim/network/all_to_all_flows.hpp"

namespace foretoken::bench {
namespace {

void compare(const std::vector<double>& found, const std::vector<double>& expected) {
  double largest = 0;
  for (std::size_t f = 0; f < found.size(); ++f)
    largest = std::max(largest, std::abs(found[f] - expected[f]) / expected[f]);
  const double makespan = *std::max_element(expected.begin(), expected.end());
  print("largest_difference", largest);
  print("makespan_difference", std::abs(*std::max_element(found.begin(), found.end()) - makespan) / makespan);
}

int run(int argc, char** argv) {
  const sim::AllToAllCase exchange{std::stoll(argument(argc, argv, "--ranks", "16")),
                                   std::stoll(argument(argc, argv, "--nodes-per-leaf", "0")),
                                   argument(argc, argv, "--workload", "U").at(0)};
  const bool by_classes = argument(argc, argv, "--emit", "flows") == "classes";
  const sim::FlowSetOptions options{.accuracy = std::stod(argument(argc, argv, "--accuracy", "0"))};
  const std::string times_file = argument(argc, argv, "--times", "");
  const std::string against_file = argument(argc, argv, "--against", "");

  const std::int64_t memory_before = peak_memory();
  sim::FlowSet flows = by_classes ? sim::FlowSet{} : sim::all_to_all_flows(exchange);
  std::vector<sim::FlowClass> classes;
  const double begin = cpu_seconds();
  if (by_classes) {
    classes = sim::flow_classes(exchange);
    flows = sim::class_set(exchange, classes);
  }
  const sim::FlowTimes found = sim::run_flows(flows, options);
  print("cpu_s", cpu_seconds() - begin);
  print("peak_bytes", static_cast<double>(peak_memory()));
  print("grown_bytes", static_cast<double>(peak_memory() - memory_before));
  print("makespan_s", found.completion.last());
  print("classes", static_cast<double>(found.classes));
  print("solves", static_cast<double>(found.solves));
  print("error", found.error);

  if (times_file.empty() && against_file.empty()) return 0;
  const std::vector<double> times =
      by_classes ? sim::times_of_flows(exchange, classes, found.completion.each()) : found.completion.each();
  if (!times_file.empty()) write_times(times_file, times);
  if (!against_file.empty()) compare(times, read_times(against_file, times.size()));
  return 0;
}

}  // namespace
}  // namespace foretoken::bench

int main(int argc, char** argv) {
  try {
    return foretoken::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "foretoken_all_to_all: %s\n", error.what());
    return 2;
  }
}
