#include <fmt/format.h>

#include <algorithm>
#include <ostream>

#include "core/error.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/write_file.hpp"
#include "tools/launch/job.hpp"

namespace foretoken::cli {
namespace {

launch::Job job_of(const Loaded& loaded, const LaunchOptions& options) {
  if (loaded.topology.emulated)
    throw input_error(loaded.scenario.cluster.topology.string(), "", "has nodes that are emulated on one computer",
                      "start it with tools/netlab, or choose a topology of nodes that there are");
  launch::Job job;
  job.name = loaded.scenario.name;
  job.ranks = loaded.plan.program.ranks;
  const std::int64_t room = loaded.topology.gpus_per_node;
  job.ranks_per_node = std::min(job.ranks, room);
  job.nodes = (job.ranks + room - 1) / room;
  job.gpus = !loaded.machine.is_host();
  job.scenario = options.scenarios.front();
  job.topology = options.topology;
  job.overrides = options.overrides;
  job.minutes = options.minutes;
  job.image = options.image;
  job.directory = options.directory;
  return job;
}

}  // namespace

void run_launch(const LaunchOptions& options, std::ostream& out) {
  check_out(options);
  if (options.scenarios.size() != 1)
    throw input_error("launch", "", fmt::format("{} scenarios are given", options.scenarios.size()),
                      "write one job at a time");
  if (options.slurm + options.mpirun + options.k8s != 1)
    throw input_error("launch", "", "it is not said for whom", "give one of --slurm, --mpirun and --k8s");
  const launch::Job job = job_of(load(options.scenarios.front(), options), options);
  const std::string text = options.slurm    ? launch::slurm_script(job)
                           : options.mpirun ? launch::mpirun_script(job)
                                            : launch::k8s_job(job);
  if (!options.out.empty()) write_file(options.out, text);
  out << text;
}

}  // namespace foretoken::cli
