#include "tools/predict/predictor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/error.hpp"
#include "tools/collective/simulated.hpp"

namespace foretoken::predict {
namespace {

// Clusters are kept for the next op; a file may name any number of sizes.
constexpr std::size_t kClustersMax = 32;

Calibration calibration_of(const plan::Topology& topology, const std::filesystem::path& file,
                           const std::filesystem::path& instead) {
  if (topology.cores_per_node > 0)
    throw input_error(file.string(), "", "is a host, and ops are predicted for GPUs", "name a cluster of GPUs");
  const std::filesystem::path& from = instead.empty() ? topology.calibration : instead;
  if (from.empty()) throw input_error(file.string(), "", "names no calibration", "give --calibration FILE");
  Calibration calibration = read_calibration(from);
  require_calibration_for(calibration, topology.device);
  return calibration;
}

}  // namespace

Predictor::Predictor(std::filesystem::path topology, const std::filesystem::path& calibration, std::string framework)
    : file_(std::move(topology)),
      topology_(plan::read_topology(file_)),
      calibration_(calibration_of(topology_, file_, calibration)),
      framework_(framework.empty() ? calibration_.compute.default_framework : std::move(framework)),
      network_(calibration_.network) {
  static_cast<void>(compute(framework_));
}

std::string Predictor::framework_of(const OpLine& line) const {
  if (std::holds_alternative<Communication>(line.shape)) return "";
  return line.framework.empty() ? framework_ : line.framework;
}

const sim::ComputeCost& Predictor::compute(const std::string& framework) {
  const auto known = compute_.find(framework);
  if (known != compute_.end()) return known->second;
  return compute_.emplace(framework, sim::ComputeCost(calibration_.compute, topology_.device, framework)).first->second;
}

const Predictor::Cluster& Predictor::cluster(std::int64_t nodes) {
  const std::int64_t at_least = std::max(nodes, topology_.nodes);
  const auto known = clusters_.find(at_least);
  if (known != clusters_.end()) return *known->second;
  if (clusters_.size() >= kClustersMax) {
    ranks_.clear();
    clusters_.clear();
  }
  const plan::Topology topology =
      at_least == topology_.nodes ? topology_ : plan::read_topology(file_, plan::TopologyOverrides{at_least, {}});
  return *clusters_.emplace(at_least, std::make_unique<const Cluster>(topology, network_)).first->second;
}

const sim::Alone& Predictor::ranks(std::int64_t count, std::int64_t nodes) {
  const std::int64_t per_node = topology_.gpus_per_node;
  if (nodes == 0) nodes = (count + per_node - 1) / per_node;
  if (count > nodes * per_node)
    throw input_error("", "", fmt::format("{} ranks do not fit on {} nodes of {} GPUs", count, nodes, per_node),
                      "write more nodes, or name another topology");
  const auto known = ranks_.find({count, nodes});
  if (known != ranks_.end()) return known->second;
  const Cluster& on = cluster(nodes);
  std::vector<RankId> members;
  // Spread evenly: the first GPUs of each node. Where nodes were not said, nodes fill up one after the other.
  const std::int64_t here = count % nodes == 0 ? count / nodes : per_node;
  for (std::int64_t i = 0; i < count; ++i)
    members.emplace_back(static_cast<std::int32_t>(i / here * per_node + i % here));
  return ranks_.emplace(std::pair(count, nodes), sim::Alone(on.fabric, std::move(members))).first->second;
}

sim::Estimate Predictor::operator()(const OpLine& line) {
  struct Ask {
    Predictor& predictor;
    const OpLine& line;

    [[nodiscard]] const sim::ComputeCost& cost() const { return predictor.compute(predictor.framework_of(line)); }
    sim::Estimate operator()(const Gemm& op) const { return cost().gemm(line.dtype, op.m, op.n, op.k); }
    sim::Estimate operator()(const GroupedGemm& op) const {
      return cost().grouped_gemm(line.dtype, op.rows, op.n, op.k);
    }
    sim::Estimate operator()(const Attention& op) const {
      return op.phase == sim::AttentionPhase::decode ? cost().attention_decode(op.shape)
                                                     : cost().attention_prefill(op.shape);
    }
    sim::Estimate operator()(const MoeModule& op) const {
      const sim::MoeModule& module = op.module;
      return sim::moe_module(cost(), module,
                             sim::expert_rows(op.load, module.tokens, module.experts, module.top_k, op.ep));
    }
    sim::Estimate operator()(const Communication& op) const {
      const collective::Row row =
          collective::simulate_row(op.query, predictor.ranks(op.query.ranks, op.nodes), op.query.sizes.front());
      return {row.time, row.provenance};
    }
  };
  return std::visit(Ask{*this, line}, line.shape);
}

}  // namespace foretoken::predict
