#include "tests/measure/invented_gpu.hpp"

#include <algorithm>

#include "calibrate/fit/network_families.hpp"
#include "core/error.hpp"
#include "foretoken_places.hpp"
#include "sim/cost/network_cost.hpp"
#include "sim/cost/token_exchange.hpp"

namespace foretoken::test {
namespace {

using namespace runtime::cuda;  // NOLINT(google-build-using-namespace): the probes' names

CollectiveAlgorithm algorithm_of(const std::string& nccl) {
  if (nccl == "tree") return CollectiveAlgorithm::tree;
  if (nccl == "nvls") return CollectiveAlgorithm::nvls;
  if (nccl == "nvlstree") return CollectiveAlgorithm::nvls_tree;
  return CollectiveAlgorithm::ring;
}

struct Physics {
  const InventedPhysics& p;

  [[nodiscard]] sim::MachineRates rates(DType dtype) const {
    L2Fit l2 = p.l2;
    l2.hits_none_above = p.device.l2;
    l2.hits_all_below = Bytes(p.device.l2.value() * 7 / 10);
    return sim::machine_rates(p.device, l2, *p.device.peak(dtype));
  }
  Seconds operator()(const CopyProbe& c) const { return p.floor + c.bytes * 2 / p.memory; }
  Seconds operator()(const GemmProbe& g) const {
    return (p.floor + sim::gemm_roofline({g.m, g.n, g.k, bytes_per_element(g.dtype)}, rates(g.dtype))) *
           p.gemm_slowdown;
  }
  Seconds operator()(const ExpertGemmProbe& e) const {
    return (*this)(GemmProbe{e.dtype, e.rows, e.n, e.k}) * static_cast<double>(e.experts);
  }
  Seconds operator()(const AttentionProbe& a) const {
    sim::AttentionShape shape;
    shape.batch = a.batch;
    shape.context = a.context;
    shape.heads = a.heads;
    shape.kv_heads = a.kv_heads;
    shape.head_dim = a.head_dim;
    shape.kv = sim::Residency::repeated;
    return (p.floor + sim::attention_roofline(sim::AttentionPhase::decode, shape, Seconds(0), rates(DType::bf16))) *
           p.attention_slowdown;
  }
  Seconds operator()(const RowwiseProbe& r) const { return p.floor + traffic(r) / p.memory; }
  Seconds operator()(const LaunchProbe& l) const {
    if (l.on_device) return Seconds(20e-6) + (l.graph ? Seconds(0) : p.eager_gap);
    return l.graph ? p.graph_launch : p.eager_launch;
  }
  Seconds operator()(const PairProbe& m) const {
    const bool same_node = m.from.value() / p.ranks_per_node == m.to.value() / p.ranks_per_node;
    const Seconds time =
        sim::NetworkCost(p.network).message(same_node ? sim::Span::in_node : sim::Span::across_nodes, m.bytes).total();
    return time * (p.message_slowdown ? p.message_slowdown(m.from, m.to) : 1);
  }
  Seconds operator()(const MessageProbe& m) const {
    const sim::NetworkCost cost(p.network);
    const auto collective = [&](CollectiveOp op) {
      return cost
          .collective(op, algorithm_of(m.algorithm), static_cast<int>(m.ranks), static_cast<int>(m.nodes), m.bytes)
          .total();
    };
    Seconds time{};
    switch (m.kind) {
      case MessageKind::all_reduce: time = collective(CollectiveOp::all_reduce); break;
      case MessageKind::all_gather: time = collective(CollectiveOp::all_gather); break;
      case MessageKind::reduce_scatter: time = collective(CollectiveOp::reduce_scatter); break;
      case MessageKind::send_recv:
        time = cost.message(m.nodes > 1 ? sim::Span::across_nodes : sim::Span::in_node, m.bytes).total();
        break;
      case MessageKind::all_to_all: {
        const std::int64_t on_node = m.ranks / m.nodes;
        time = sim::exchange_alone(cost.exchange(sim::ExchangeOp::combine, static_cast<int>(m.ranks),
                                                 static_cast<int>(m.nodes), static_cast<int>(m.ranks), m.bytes),
                                   m.bytes * (on_node - 1) / m.ranks, m.bytes * (m.ranks - on_node) / m.ranks);
        break;
      }
    }
    return time * (m.beside_gemm ? p.beside_gemm : 1);
  }
};

}  // namespace

InventedPhysics InventedPhysics::of_h100() {
  InventedPhysics physics;
  physics.device = read_device_spec(FORETOKEN_SOURCE_DIR "/topologies/devices/h100-sxm5-80gb.json");
  physics.network = calibrate::network_first_guess();
  physics.network.ring.base_latency = Seconds(7e-6);
  physics.network.ring.simple_wire_rate = BytesPerSecond(320e9);
  physics.network.ring.network_step_latency = Seconds(14e-6);
  physics.network.nvls.wire_rate = BytesPerSecond(260e9);
  physics.network.tree = TreeCalibration{Seconds(9e-6), BytesPerSecond(30e9), {}, ""};
  physics.network.nvls_tree = NvlsTreeCalibration{Seconds(40e-6), BytesPerSecond(280e9), Seconds(15e-6), {}, ""};
  physics.network.message_in_node = {Seconds(8e-6), BytesPerSecond(330e9), {}, ""};
  physics.network.message_across_nodes = {Seconds(16e-6), BytesPerSecond(44e9), {}, ""};
  for (ExchangeCalibration* exchange : {&physics.network.dispatch, &physics.network.combine}) {
    exchange->latency_one_node = Seconds(12e-6);
    exchange->latency_across_nodes = Seconds(25e-6);
    exchange->queue_latency = Seconds(0);
    exchange->rate_in_node = BytesPerSecond(280e9);
    exchange->rate_across_nodes = BytesPerSecond(42e9);
  }
  return physics;
}

Seconds InventedPhysics::time(const Probe& probe) const { return std::visit(Physics{*this}, probe); }

InventedGpu::InventedGpu(InventedPhysics physics, std::int64_t rank, std::int64_t ranks)
    : physics_(std::move(physics)), state_(static_cast<std::uint64_t>(rank) + 1) {
  machine_.gpu.name = "NVIDIA H100 80GB HBM3";
  machine_.gpu.uuid = "GPU-" + std::to_string(rank);
  machine_.gpu.pci = "0000:" + std::to_string(10 + rank) + ":00.0";
  machine_.gpu.multiprocessors = physics_.device.sms;
  machine_.driver = "CUDA 13.0 of the driver, 13.0 of the runtime";
  machine_.blas = "cuBLASLt 13.0.0";
  machine_.nccl = ranks > 1 ? "2.28.9" : "";
  machine_.multicast = true;
}

void InventedGpu::connect(const std::string& algorithm, const std::vector<MessageProbe>& /*probes*/) {
  ++heard;
  connected.push_back(algorithm);
}

void InventedGpu::prepare(const Probe& probe) {
  probe_ = probe;
  ++heard;
  ++prepared;
  clock_ += Seconds(1e-3);
  if (const auto* const a = std::get_if<AttentionProbe>(&probe);
      a != nullptr && 4 * a->batch * a->context * a->kv_heads * a->head_dim > memory_max)
    throw Error(ErrorCode::infeasible, "the KV cache does not fit");
}

Seconds InventedGpu::run(std::int64_t repetitions) {
  ++heard;
  ++runs;
  state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
  const double uniform = static_cast<double>(state_ >> 11U) / 9007199254740992.0 - 0.5;
  const Seconds took = physics_.time(probe_) * static_cast<double>(repetitions) * (1 + 2 * physics_.noise * uniform);
  clock_ += took + Seconds(20e-6);
  return took;
}

GpuConditions InventedGpu::conditions() {
  GpuConditions conditions;
  conditions.samples = 1;
  conditions.sm_clock_mhz_min = 1755;
  conditions.sm_clock_mhz_max = 1980;
  conditions.power_watts_mean = 500;
  conditions.temperature_celsius_max = 61;
  return conditions;
}

}  // namespace foretoken::test
