// foretoken calibrate network: measures messages between nodes, under mpirun, and adds them to a host's calibration.
#include <fmt/format.h>

#include <array>
#include <map>
#include <ostream>
#include <span>
#include <utility>
#include <vector>

#include "calibrate/fit/host_network_fit.hpp"
#include "core/calibration.hpp"
#include "core/error.hpp"
#include "plan/machine/topology.hpp"
#include "runtime/machine_identity.hpp"
#include "runtime/run.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/version.hpp"
#include "tools/cli/write_file.hpp"
#include "tools/collective/live.hpp"

namespace foretoken::cli {
namespace {

using calibrate::HostNetworkSample;
using collective::Operation;
using collective::Query;

constexpr const char* kSource = "messages between nodes";

// Odd multiples, so that what is scored later, which powers of two prevail in, was not measured here.
constexpr std::array<std::int64_t, 6> kMessageBytes{96, 3'000, 12'000, 48'000, 192'000, 768'000};

constexpr std::int64_t kOneWayBytesMin = 192'000;

// "one_way": from the ranks of each even node to those of the next one, and nothing back.
struct Pattern {
  Operation op;
  const char* name;
};
constexpr std::array<Pattern, 3> kPatterns{
    {{Operation::all_to_all_v, "one_way"}, {Operation::send_recv, "send_recv"}, {Operation::all_to_all, "all_to_all"}}};

#ifdef FORETOKEN_MPI
std::vector<double> weights_of(const plan::Machine& machine, const Pattern& pattern, std::int32_t ranks) {
  std::vector<double> weights(static_cast<std::size_t>(ranks) * static_cast<std::size_t>(ranks));
  const auto per_node = static_cast<std::int32_t>(machine.gpus() / machine.nodes());
  for (std::int32_t from = 0; from < ranks; ++from) {
    const auto row = static_cast<std::size_t>(from) * static_cast<std::size_t>(ranks);
    if (pattern.op == Operation::send_recv) weights[row + static_cast<std::size_t>((from + 1) % ranks)] = 1;
    else if (pattern.op == Operation::all_to_all)
      for (std::int32_t to = 0; to < ranks; ++to) weights[row + static_cast<std::size_t>(to)] = to == from ? 0 : 1;
    else if (machine.node_of(RankId(from)) % 2 == 0 && from + per_node < ranks)
      weights[row + static_cast<std::size_t>(from + per_node)] = 1;
  }
  return weights;
}

// Messages over the link that takes longest.
HostNetworkSample sample_of(const plan::Machine& machine, const Pattern& pattern, std::span<const double> weights,
                            std::int32_t ranks, Bytes message) {
  HostNetworkSample sample;
  sample.pattern = pattern.name;
  sample.size = message;
  std::map<LinkId, double> messages;
  std::map<LinkId, double> answers;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const RankId from(static_cast<std::int32_t>(i) / ranks);
    const RankId to(static_cast<std::int32_t>(i) % ranks);
    if (weights[i] == 0 || machine.node_of(from) == machine.node_of(to)) continue;
    for (const LinkId link : machine.route(from, to)) messages[link] += 1;
    for (const LinkId link : machine.route(to, from)) answers[link] += 1;
  }
  Seconds longest(0);
  for (const auto& [link, count] : messages) {
    const BytesPerSecond rate = machine.links()[link.index()].bandwidth;
    if (message / rate * count <= longest) continue;
    longest = message / rate * count;
    sample.messages = count;
    sample.answered = answers[link] / count;
    sample.rate = rate;
  }
  return sample;
}

std::string table_of(const HostNetwork& network, std::span<const HostNetworkSample> samples) {
  const auto us = [](Seconds time) { return time.value() * 1e6; };
  std::string text = fmt::format(
      "payload {:.3f} of the nominal rate, {:.4f} of it acknowledged, latency {:.1f} us, {} bytes of headers\n"
      "CPU time of a message and a byte: sender {:.1f} us, {:.2f} ns; receiver {:.1f} us, {:.2f} ns\n\n",
      network.payload, network.acknowledged, us(network.latency), network.overhead.value(), us(network.send.message),
      network.send.byte.value() * 1e9, us(network.receive.message), network.receive.byte.value() * 1e9);
  text += fmt::format("{:<12} {:>10} {:>10} {:>12} {:>12} {:>9}\n", "pattern", "bytes", "messages", "fitted us",
                      "measured us", "error %");
  for (const HostNetworkSample& sample : samples) {
    if (sample.time <= Seconds(0)) continue;
    const Seconds fitted = calibrate::host_network_time(network, sample);
    text += fmt::format("{:<12} {:>10} {:>10.0f} {:>12.1f} {:>12.1f} {:>+9.1f}\n", sample.pattern, sample.size.value(),
                        sample.messages, us(fitted), us(sample.time), 100 * (ratio(fitted, sample.time) - 1));
  }
  return text;
}

void store(const CalibrateNetworkOptions& options, const plan::Topology& topology, Calibration calibration,
           HostNetwork network, std::size_t samples) {
  network.source = kSource;
  calibration.host->network = network;
  std::erase_if(calibration.sources, [](const CalibrationSource& source) { return source.id == kSource; });
  const runtime::MachineIdentity machine = runtime::this_machine();
  calibration.sources.push_back(
      {kSource,
       fmt::format("{}, {} cores, {}, topology {}{}; foretoken {} ({})", machine.cpu, machine.cores, machine.kernel,
                   topology.name, topology.emulated ? ", emulated" : "", version(), commit()),
       "own measurement", static_cast<std::int64_t>(samples), fmt::format("means of {} times", options.iterations)});
  write_file(options.calibration, calibration_text(calibration));
}

// Means over the ranks of a step's CPU time: nodes of even number send one message each, the others receive one.
void note_cpu(const plan::Machine& machine, const runtime::RunResult& result, HostNetworkSample& sample) {
  std::array<Seconds, 2> sums{};
  std::array<double, 2> counts{};
  for (std::size_t rank = 0; rank < result.cpu_per_step.size(); ++rank) {
    const auto end = static_cast<std::size_t>(machine.node_of(RankId(static_cast<std::int32_t>(rank))) % 2);
    sums[end] += result.cpu_per_step[rank];
    counts[end] += 1;
  }
  sample.send_cpu = sums[0] / counts[0];
  sample.receive_cpu = sums[1] / counts[1];
}

std::vector<HostNetworkSample> measure(const CalibrateNetworkOptions& options, const plan::Machine& machine,
                                       runtime::MpiProcess& mpi, std::ostream& err) {
  runtime::RunOptions live;
  live.build = fmt::format("{} {}", version(), commit());
  std::vector<HostNetworkSample> samples;
  const auto ranks = static_cast<std::int32_t>(mpi.ranks());
  for (const Pattern& pattern : kPatterns) {
    const std::vector<double> weights = weights_of(machine, pattern, ranks);
    for (const std::int64_t bytes : kMessageBytes) {
      HostNetworkSample sample = sample_of(machine, pattern, weights, ranks, Bytes(bytes));
      Query query;
      query.op = pattern.op;
      query.ranks = ranks;
      query.sizes = {pattern.op == Operation::all_to_all ? bytes * ranks : bytes};
      if (pattern.op == Operation::all_to_all_v) {
        query.pattern = pattern.name;
        query.weights = weights;
      }
      if (mpi.rank() == 0) err << fmt::format("measuring {} of {} bytes\n", pattern.name, bytes);
      live.instrumented = pattern.op == Operation::all_to_all_v;
      const auto table = collective::measure(query, options.iterations, [&](const plan::Plan& plan) {
        auto result = runtime::run_mpi(mpi, plan, live);
        if (result && live.instrumented) note_cpu(machine, *result, sample);
        return result;
      });
      if (!table) continue;
      // Nobody holds up a sender of short messages that goes one way: how long a step takes says nothing of the link.
      if (pattern.op != Operation::all_to_all_v || bytes >= kOneWayBytesMin) sample.time = table->rows.front().time;
      samples.push_back(sample);
    }
  }
  return samples;
}
#endif

}  // namespace

void run_calibrate_network(const CalibrateNetworkOptions& options, std::ostream& out, std::ostream& err) {
  if (!runtime::launched_ranks())
    throw Error(ErrorCode::invalid_input,
                "calibrate network measures messages between nodes; start it with mpirun, a rank or more on each node");
#ifdef FORETOKEN_MPI
  runtime::MpiProcess mpi;
  try {
    const plan::Topology topology = plan::read_topology(options.topology);
    const plan::Machine machine = plan::build_machine(topology);
    if (!machine.is_host() || machine.nodes() < 2 || mpi.ranks() != machine.gpus())
      throw input_error(options.topology.string(), "",
                        fmt::format("{} nodes have {} ranks, and {} processes were started", machine.nodes(),
                                    machine.gpus(), mpi.ranks()),
                        "give hosts of several nodes, and start as many processes");
    Calibration calibration = read_calibration(options.calibration);
    if (!calibration.host)
      throw input_error(options.calibration.string(), "/host", "is not there",
                        "measure this computer first: foretoken calibrate host");
    const std::vector<HostNetworkSample> samples = measure(options, machine, mpi, err);
    if (samples.empty()) return;
    const HostNetwork network = calibrate::fit_host_network(samples);
    store(options, topology, std::move(calibration), network, samples.size());
    out << table_of(network, samples);
  } catch (const Error& error) {
    mpi.end_all(error);
  }
#else
  static_cast<void>(options), static_cast<void>(out), static_cast<void>(err);
#endif
}

}  // namespace foretoken::cli
