#include "runtime/cuda/launch_check.hpp"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "runtime/record_bytes.hpp"

namespace foretoken::runtime::cuda {

std::vector<char> LaunchClaim::to_bytes() const {
  ByteWriter writer;
  for (const std::string* text : {&build, &plan, &host, &gpu, &error}) writer.text(*text);
  writer.number(error_code);
  return writer.bytes();
}

LaunchClaim LaunchClaim::from_bytes(std::span<const char> bytes) {
  ByteReader reader(bytes);
  LaunchClaim claim;
  for (std::string* text : {&claim.build, &claim.plan, &claim.host, &claim.gpu, &claim.error}) *text = reader.text();
  claim.error_code = reader.number();
  return claim;
}

void require_agreement(const plan::Plan& plan, std::span<const LaunchClaim> claims, bool gpus_shared) {
  const auto ranks = static_cast<std::int64_t>(claims.size());
  const auto disagree = [](const std::string& text) { return Error(ErrorCode::invalid_input, text); };
  for (std::size_t r = 1; r < claims.size(); ++r) {
    if (claims[r].build != claims[0].build)
      throw disagree(
          fmt::format("rank {} on {} is another build ({}) than rank 0 on {} ({}); start the same program everywhere",
                      r, claims[r].host, claims[r].build, claims[0].host, claims[0].build));
    if (claims[r].plan != claims[0].plan)
      throw disagree(
          fmt::format("rank {} on {} has another plan ({}) than rank 0 on {} ({}); give all ranks the same scenario, "
                      "topology and --set",
                      r, claims[r].host, claims[r].plan, claims[0].host, claims[0].plan));
  }
  if (ranks != plan.program.ranks)
    throw disagree(
        fmt::format("{}: the deployment has {} ranks, one per GPU, and {} process{} started; use "
                    "mpirun -n {}, or srun -n {}",
                    plan.scenario.name, plan.program.ranks, ranks, ranks == 1 ? " was" : "es were", plan.program.ranks,
                    plan.program.ranks));
  for (std::size_t r = 0; r < claims.size(); ++r)
    if (!claims[r].error.empty())
      throw Error(static_cast<ErrorCode>(claims[r].error_code),
                  ranks == 1 ? claims[r].error : fmt::format("rank {} on {}: {}", r, claims[r].host, claims[r].error));
  if (gpus_shared) return;
  std::map<std::pair<std::string, std::string>, std::size_t> user;
  for (std::size_t r = 0; r < claims.size(); ++r) {
    const auto [place, added] = user.try_emplace({claims[r].host, claims[r].gpu}, r);
    if (!added)
      throw disagree(
          fmt::format("ranks {} and {} are both on {} of {}; start one process per GPU (mpirun --map-by ppr:8:node, or "
                      "srun --gpus-per-task=1), and leave CUDA_VISIBLE_DEVICES to the launcher",
                      place->second, r, claims[r].gpu, claims[r].host));
  }
}

std::int64_t choose_gpu(std::int64_t gpus_visible, std::int64_t rank_on_node, bool gpus_shared) {
  if (gpus_visible == 1) return 0;
  if (gpus_shared) return rank_on_node % gpus_visible;
  if (rank_on_node < gpus_visible) return rank_on_node;
  throw Error(
      ErrorCode::invalid_input,
      fmt::format("this is process {} of this computer, and {} GPUs can be seen; start at most as many processes "
                  "on it as it has GPUs",
                  rank_on_node + 1, gpus_visible));
}

}  // namespace foretoken::runtime::cuda
