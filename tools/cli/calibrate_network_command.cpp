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

struct Pattern {
  Operation op;
  const char* name;
};
constexpr std::array<Pattern, 2> kPatterns{
    {{Operation::send_recv, "send_recv"}, {Operation::all_to_all, "all_to_all"}}};

// Messages over the longest loaded link, and the time for their bytes at its nominal rate.
HostNetworkSample sample_of(const plan::Machine& machine, const Pattern& pattern, std::int32_t ranks, Bytes message) {
  HostNetworkSample sample;
  sample.pattern = pattern.name;
  sample.size = message;
  std::map<LinkId, double> messages;
  for (std::int32_t from = 0; from < ranks; ++from) {
    for (std::int32_t step = 1; step < (pattern.op == Operation::send_recv ? 2 : ranks); ++step) {
      const RankId to((from + step) % ranks);
      if (machine.node_of(RankId(from)) == machine.node_of(to)) continue;
      for (const LinkId link : machine.route(RankId(from), to)) messages[link] += 1;
    }
  }
  for (const auto& [link, count] : messages) {
    const Seconds time = message / machine.links()[link.index()].bandwidth * count;
    if (time < sample.nominal) continue;
    sample.nominal = time;
    sample.messages = count;
  }
  return sample;
}

std::string table_of(const HostNetwork& network, std::span<const HostNetworkSample> samples) {
  std::string text = fmt::format("payload {:.3f} of the nominal rate, latency {:.1f} us, per message {:.1f} us\n\n",
                                 network.payload, network.latency.value() * 1e6, network.per_message.value() * 1e6);
  text += fmt::format("{:<12} {:>10} {:>10} {:>12} {:>12} {:>9}\n", "pattern", "bytes", "messages", "fitted us",
                      "measured us", "error %");
  for (const HostNetworkSample& sample : samples) {
    const Seconds fitted = calibrate::host_network_time(network, sample);
    text += fmt::format("{:<12} {:>10} {:>10.0f} {:>12.1f} {:>12.1f} {:>+9.1f}\n", sample.pattern, sample.size.value(),
                        sample.messages, fitted.value() * 1e6, sample.time.value() * 1e6,
                        100 * (ratio(fitted, sample.time) - 1));
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

#ifdef FORETOKEN_MPI
std::vector<HostNetworkSample> measure(const CalibrateNetworkOptions& options, const plan::Machine& machine,
                                       runtime::MpiProcess& mpi, std::ostream& err) {
  runtime::RunOptions live;
  live.instrumented = false;
  live.build = fmt::format("{} {}", version(), commit());
  std::vector<HostNetworkSample> samples;
  const auto ranks = static_cast<std::int32_t>(mpi.ranks());
  for (const Pattern& pattern : kPatterns) {
    for (const std::int64_t bytes : kMessageBytes) {
      HostNetworkSample sample = sample_of(machine, pattern, ranks, Bytes(bytes));
      Query query;
      query.op = pattern.op;
      query.ranks = ranks;
      query.sizes = {pattern.op == Operation::all_to_all ? bytes * ranks : bytes};
      if (mpi.rank() == 0) err << fmt::format("measuring {} of {} bytes\n", pattern.name, bytes);
      const auto table = collective::measure(query, options.iterations,
                                             [&](const plan::Plan& plan) { return runtime::run_mpi(mpi, plan, live); });
      if (!table) continue;
      sample.time = table->rows.front().time;
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
  static_cast<void>(out), static_cast<void>(err);
#endif
}

}  // namespace foretoken::cli
