// foretoken collective: what nccl-tests would print on a cluster, simulated, or measured on this computer.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "core/calibration.hpp"
#include "core/error.hpp"
#include "plan/machine/topology.hpp"
#include "runtime/run.hpp"
#include "sim/communication/fabric.hpp"
#include "sim/cost/host_cost.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/live_health.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/mpi_launch.hpp"
#include "tools/cli/version.hpp"
#include "tools/cli/write_file.hpp"
#include "tools/collective/flow_file.hpp"
#include "tools/collective/live.hpp"
#include "tools/collective/simulated.hpp"

namespace foretoken::cli {
namespace {

using collective::Operation;
using collective::Query;
using Json = nlohmann::ordered_json;

// A bar on a terminal, and nothing anywhere else.
class Progress {
 public:
  explicit Progress(std::ostream& err) : err_(err), terminal_(isatty(STDERR_FILENO) == 1) {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (written_) err_ << "\r\033[K" << std::flush;
  }
  void operator()(std::size_t done, std::size_t all) {
    if (!terminal_) return;
    constexpr std::size_t width = 24;
    const std::size_t full = done * width / std::max<std::size_t>(1, all);
    err_ << fmt::format("\r\033[K[{:=<{}}{: <{}}] {} of {} sizes", "", full, "", width - full, done, all) << std::flush;
    written_ = true;
  }

 private:
  std::ostream& err_;
  bool terminal_;
  bool written_ = false;
};

// Options that say nothing to what is asked for are errors: whoever writes them expects something of them.
void refuse(bool given, const char* option, const std::string& because) {
  if (given) throw input_error(option, "", because, fmt::format("leave {} out", option));
}

void check_mix(const CollectiveOptions& o) {
  const bool exchange = o.operation == "dispatch" || o.operation == "combine";
  const bool shaped = o.hidden > 0 || o.top_k > 0 || o.experts > 0;
  if (!o.flows.empty()) {
    const std::string because = "means nothing beside --flows, which say all";
    refuse(!o.operation.empty(), o.operation.c_str(), because);
    refuse(o.live, "--live", because);
    refuse(!o.sizes.empty(), "--sizes", because);
    refuse(!o.algorithm.empty(), "--algorithm", because);
    refuse(!o.pattern.empty(), "--pattern", because);
    refuse(!o.dtype.empty(), "--dtype", because);
    refuse(!o.tokens.empty(), "--tokens", because);
    refuse(shaped || o.sms > 0, "--hidden, --top-k, --experts, --sms", because);
  } else if (o.operation.empty()) {
    throw input_error("collective", "", "no operation is given", "write for example all_reduce, or --flows FILE");
  }
  if (o.live) {
    const std::string because = "is about simulation, and --live measures this computer";
    refuse(!o.topology.empty(), "--topology", because);
    refuse(!o.calibration.empty(), "--calibration", because);
    refuse(!o.communicator.empty(), "--communicator", because);
    refuse(o.ideal, "--ideal", because);
    refuse(o.zero_latency, "--zero-latency", because);
    refuse(o.accuracy > 0, "--accuracy", because);
    refuse(o.time_limit != sim::kSharingSecondsMax, "--time-limit", because);
  } else {
    refuse(o.iterations > 0, "--iterations", "is about --live runs");
    refuse(o.busy_max.has_value(), "--busy-max", "is about --live runs");
    if (o.topology.empty())
      throw input_error("--topology", "", "no machine is given",
                        "write for example --topology topologies/hgx-h100-2nodes-ndr400.json, or --live");
  }
  refuse(o.ideal && !o.calibration.empty(), "--calibration", "means nothing beside --ideal");
  if (!o.flows.empty()) return;
  const std::string not_exchange = fmt::format("is about dispatch and combine, not {}", o.operation);
  refuse(!exchange && !o.tokens.empty(), "--tokens", not_exchange);
  refuse(!exchange && shaped, "--hidden, --top-k, --experts", not_exchange);
  refuse(!exchange && o.sms > 0, "--sms", not_exchange);
  refuse(exchange && !o.sizes.empty(), "--sizes", fmt::format("{} has --tokens", o.operation));
  refuse(o.operation != "all_to_all_v" && !o.pattern.empty(), "--pattern", "is about all_to_all_v");
}

template <class Names>
auto value_named(const std::string& option, const std::string& text, const Names& names) {
  for (const auto& [value, name] : names)
    if (name == text) return value;
  std::vector<std::string_view> all;
  for (const auto& entry : names) all.push_back(entry.second);
  throw input_error(option, "", fmt::format("there is no \"{}\"", text), fmt::format("write {}", fmt::join(all, ", ")));
}

std::int32_t ranks_of(const CollectiveOptions& options, std::int64_t available, const std::string& where) {
  if (options.ranks > available)
    throw input_error("--ranks", "", fmt::format("{} ranks are more than {} has, {}", options.ranks, where, available),
                      fmt::format("write at most {}", available));
  return static_cast<std::int32_t>(options.ranks == 0 ? available : options.ranks);
}

Query query_of(const CollectiveOptions& options, std::int32_t ranks) {
  Query query;
  query.op = value_named("collective", options.operation, collective::kOperationNames);
  query.ranks = ranks;
  if (!options.algorithm.empty()) query.algorithm = options.algorithm;
  if (!options.dtype.empty()) query.dtype = value_named("--dtype", options.dtype, kDTypeNames);
  else if (query.op == Operation::dispatch) query.dtype = DType::fp8;
  else if (query.op == Operation::combine) query.dtype = DType::bf16;
  const auto set = [](int& value, std::int64_t given) {
    if (given > 0) value = static_cast<int>(given);
  };
  set(query.exchange.hidden, options.hidden);
  set(query.exchange.top_k, options.top_k);
  set(query.exchange.experts, options.experts);
  set(query.exchange.sms, options.sms);
  if (!options.pattern.empty()) query.pattern = options.pattern;
  if (query.pattern != "uniform" && query.pattern != "skewed")
    query.weights = collective::read_pattern(query.pattern, ranks);
  if (collective::is_exchange(query.op)) {
    query.sizes = collective::parse_sizes("--tokens", options.tokens.empty() ? "128" : options.tokens);
    constexpr std::int64_t tokens_max = 1 << 24;
    if (query.sizes.back() > tokens_max)
      throw input_error("--tokens", "", fmt::format("{} tokens per rank", query.sizes.back()),
                        fmt::format("write at most {}", tokens_max));
  } else {
    const char* usual = options.live ? "8:64M:2" : "8:8G:2";
    query.sizes = collective::parse_sizes("--sizes", options.sizes.empty() ? usual : options.sizes);
  }
  return query;
}

sim::AloneOptions alone_options(const CollectiveOptions& options) {
  return {options.zero_latency, options.accuracy, options.time_limit};
}

struct Cluster {
  plan::Machine machine;
  std::string calibration;
  sim::NetworkCost cost;
};

Cluster cluster_of(const CollectiveOptions& options) {
  const plan::Topology topology = plan::read_topology(options.topology);
  if (topology.cores_per_node > 0)
    throw input_error(options.topology.string(), "", "is a host, whose ranks reach one another through memory",
                      "leave --ideal and --flows out, or name a cluster of GPUs");
  refuse(!options.communicator.empty(), "--communicator", "is of hosts, and the topology has GPUs");
  refuse_to_replace(options.out, options.topology);
  plan::Machine machine = plan::build_machine(topology);
  if (options.ideal) {
    sim::NetworkCost cost(sim::ideal_network(machine));
    return {std::move(machine), "ideal", std::move(cost)};
  }
  const std::filesystem::path file = options.calibration.empty() ? topology.calibration : options.calibration;
  if (file.empty())
    throw input_error(options.topology.string(), "", "names no calibration", "give --calibration FILE, or --ideal");
  refuse_to_replace(options.out, file);
  Calibration calibration = read_calibration(file);
  require_calibration_for(calibration, topology.device);
  return {std::move(machine), calibration.name, sim::NetworkCost(calibration.network)};
}

Json signed_json(Json json) {
  json["foretoken"] = {{"version", std::string(version())}, {"commit", std::string(commit())}};
  return json;
}

void report(const CollectiveOptions& options, const std::string& text, Json json, std::ostream& out) {
  json = signed_json(std::move(json));
  const std::string printed = json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  if (!options.out.empty()) write_file(options.out, printed);
  out << (options.json ? printed : text);
}

void report(const CollectiveOptions& options, const collective::Table& table, std::ostream& out) {
  report(options, collective::table_text(table), collective::table_json(table), out);
}

void run_flow_file(const CollectiveOptions& options, std::ostream& out) {
  const Cluster cluster = cluster_of(options);
  refuse_to_replace(options.out, options.flows);
  const std::int32_t ranks = ranks_of(options, cluster.machine.gpus(), cluster.machine.name());
  const sim::Fabric fabric(cluster.machine, cluster.cost, ranks);
  collective::FlowReport flows;
  flows.machine = cluster.machine.name();
  flows.calibration = cluster.calibration;
  flows.ranks = ranks;
  flows.zero_latency = options.zero_latency;
  flows.accuracy = options.accuracy;
  flows.flows = collective::read_flows(options.flows, ranks);
  flows.times = sim::Alone(fabric, ranks, alone_options(options)).flows(flows.flows);
  report(options, collective::flows_text(flows), collective::flows_json(flows), out);
}

// Ranks as threads of a computer: what a live run there would measure.
void run_host(const CollectiveOptions& options, const plan::Topology& topology, std::ostream& out, Progress& progress) {
  refuse_to_replace(options.out, options.topology);
  const std::filesystem::path file = options.calibration.empty() ? topology.calibration : options.calibration;
  if (file.empty())
    throw input_error(options.topology.string(), "", "names no calibration",
                      "measure this computer with `foretoken calibrate host --out DIR`, then give --topology "
                      "DIR/topology.json");
  refuse_to_replace(options.out, file);
  const Calibration calibration = read_calibration(file);
  require_calibration_for(calibration, topology.device);
  if (!calibration.host)
    throw input_error(file.string(), "", "is a calibration of GPUs, and the topology is a host",
                      "choose a calibration of the topology's own kind");
  const plan::Machine machine = plan::build_machine(topology);
  if (options.ranks == 0 && machine.nodes() == 1)
    throw input_error("--ranks", "", "is not given, and a host takes any number", "write for example --ranks 2");
  const std::int32_t ranks = ranks_of(options, machine.gpus(), machine.name());
  const sim::HostCost cost(*calibration.host, options.communicator, sim::ranks_on_computer(machine, ranks));
  const sim::HostTransport transport(machine, cost, ranks, calibration.host->network);
  collective::Table table = collective::simulate(query_of(options, ranks), machine, transport, alone_options(options),
                                                 [&](std::size_t done, std::size_t all) { progress(done, all); });
  table.calibration = calibration.name;
  report(options, table, out);
}

// A table with a size that was not measured well is none.
void report_live(const CollectiveOptions& options, const collective::Table& table, std::ostream& out) {
  for (const collective::Row& row : table.rows)
    require_idle_cores(row.busy, options.busy_max.value_or(1), fmt::format("{} bytes", row.size.value()));
  report(options, table, out);
}

void run_live(const CollectiveOptions& options, std::ostream& out, std::ostream& err) {
  const std::int64_t iterations = options.iterations > 0 ? options.iterations : 20;
  Progress progress(err);
  const auto show = [&progress](std::size_t done, std::size_t all) { progress(done, all); };
  runtime::RunOptions live;
  live.instrumented = false;
  live.build = fmt::format("{} {}", version(), commit());
  const bool launched = run_under_mpi([&](auto& mpi) {
    if (options.ranks > 0 && options.ranks != mpi.ranks())
      throw input_error("--ranks", "",
                        fmt::format("{} ranks, and {} processes were started", options.ranks, mpi.ranks()),
                        "leave --ranks out: every process is one");
    const Query query = query_of(options, static_cast<std::int32_t>(mpi.ranks()));
    const auto table = collective::measure(
        query, iterations, [&](const plan::Plan& plan) { return run_mpi(mpi, plan, live); },
        mpi.rank() == 0 ? show : std::function<void(std::size_t, std::size_t)>());
    if (table) report_live(options, *table, out);
  });
  if (launched) return;
  if (options.ranks == 0)
    throw input_error("--ranks", "", "is not given, and this is no launch of several processes",
                      "write --ranks 4 for threads, or start it with mpirun -n 4");
  const Query query = query_of(options, ranks_of(options, plan::kRanksPerHostMax, "one process"));
  const auto table = collective::measure(
      query, iterations, [&](const plan::Plan& plan) { return std::optional(runtime::run_threads(plan, live)); }, show);
  report_live(options, *table, out);
}

}  // namespace

void run_collective(const CollectiveOptions& options, std::ostream& out, std::ostream& err) {
  check_mix(options);
  if (!options.out.empty()) require_writable(options.out);
  if (options.live) {
    run_live(options, out, err);
    return;
  }
  if (!options.flows.empty()) {
    run_flow_file(options, out);
    return;
  }
  Progress progress(err);
  if (!options.ideal) {
    const plan::Topology topology = plan::read_topology(options.topology);
    if (topology.cores_per_node > 0) {
      run_host(options, topology, out, progress);
      return;
    }
  }
  const Cluster cluster = cluster_of(options);
  const std::int32_t ranks = ranks_of(options, cluster.machine.gpus(), cluster.machine.name());
  const sim::Fabric fabric(cluster.machine, cluster.cost, ranks);
  collective::Table table = collective::simulate(query_of(options, ranks), fabric, alone_options(options),
                                                 [&](std::size_t done, std::size_t all) { progress(done, all); });
  table.calibration = cluster.calibration;
  report(options, table, out);
}

}  // namespace foretoken::cli
