#include "calibrate/measure/probes.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "calibrate/measure/probe_plan.hpp"

namespace foretoken::calibrate {
namespace {

// A model in one line, so that the list below can be read as a table.
struct Shape {
  const char* name;
  std::int64_t layers, hidden, heads, kv_heads, head_dim;
  std::int64_t experts, top_k, expert_hidden, gated, shared, dense;  // dense: layers, of width 4 hidden
  std::int64_t sequences, context;
  double zipf;  // 0: uniform
};

constexpr std::array<Shape, 18> kShapes{{
    //                   layers hidden heads kv dim  experts top exp_hid gated shared dense  seqs context zipf
    {"tiny", 2, 128, 4, 4, 32, 4, 1, 256, 0, 0, 0, 4, 16, 0},
    {"tiny-gated", 3, 128, 2, 1, 64, 8, 2, 128, 1, 1, 0, 16, 100, 0},
    {"one-sequence", 4, 512, 8, 8, 64, 16, 2, 512, 1, 0, 1, 1, 200, 0},
    {"one-sequence-wide", 2, 2048, 16, 4, 128, 8, 2, 1024, 0, 1, 0, 1, 512, 0},
    {"two-sequences", 3, 1024, 8, 8, 128, 8, 1, 1024, 1, 0, 0, 2, 64, 0},
    {"three-sequences", 3, 512, 4, 2, 128, 4, 3, 768, 0, 1, 1, 3, 300, 0},
    {"five-sequences", 2, 768, 12, 12, 64, 16, 2, 768, 1, 0, 0, 5, 40, 0},
    {"seven-narrow", 4, 256, 4, 4, 64, 32, 4, 128, 1, 0, 0, 7, 128, 0},
    {"long-context", 2, 512, 8, 8, 64, 8, 2, 512, 0, 0, 0, 8, 1024, 0},
    {"long-context-grouped", 2, 1024, 16, 4, 64, 8, 2, 512, 1, 0, 0, 6, 1024, 0},
    {"many-experts", 2, 512, 8, 2, 64, 64, 4, 256, 1, 1, 0, 24, 60, 0},
    {"many-experts-zipf", 2, 384, 6, 6, 64, 64, 2, 512, 0, 0, 0, 48, 30, 1.0},
    {"middle", 3, 512, 8, 8, 64, 8, 2, 1024, 0, 0, 1, 32, 128, 0},
    {"middle-zipf", 2, 640, 10, 5, 64, 16, 2, 640, 1, 0, 0, 33, 250, 0.8},
    {"batch", 2, 256, 4, 1, 64, 8, 2, 512, 1, 1, 0, 128, 64, 0},
    {"batch-large", 2, 512, 8, 8, 64, 16, 1, 512, 0, 0, 1, 256, 16, 0.6},
    {"wide", 2, 1536, 12, 12, 128, 8, 2, 512, 1, 0, 0, 20, 100, 0},
    {"large", 2, 2048, 16, 8, 128, 8, 2, 640, 1, 0, 0, 12, 150, 0},
}};

ComputeProbe compute_probe(const Shape& s) {
  std::vector<std::string> settings{
      fmt::format("model.layers={}", s.layers),
      fmt::format("model.hidden={}", s.hidden),
      fmt::format("model.heads={}", s.heads),
      fmt::format("model.kv_heads={}", s.kv_heads),
      fmt::format("model.head_dim={}", s.head_dim),
      fmt::format("model.experts={}", s.experts),
      fmt::format("model.top_k={}", s.top_k),
      fmt::format("model.expert_hidden={}", s.expert_hidden),
      fmt::format("model.gated={}", s.gated != 0),
      fmt::format("model.shared_experts={}", s.shared),
      fmt::format("workload.sequences={}", s.sequences),
      fmt::format("workload.context={}", s.context),
  };
  if (s.dense > 0) {
    settings.push_back(fmt::format("model.dense_layers={}", s.dense));
    settings.push_back(fmt::format("model.dense_hidden={}", 4 * s.hidden));
  }
  if (s.zipf > 0) {
    settings.emplace_back("routing.kind=zipf");
    settings.push_back(fmt::format("routing.exponent={}", s.zipf));
  }
  return {s.name, probe_plan(s.name, settings), RankId(0)};
}

}  // namespace

std::vector<ComputeProbe> built_in_compute_probes() {
  std::vector<ComputeProbe> probes;
  for (const Shape& shape : kShapes) probes.push_back(compute_probe(shape));
  return probes;
}

std::vector<CommunicationProbe> built_in_communication_probes(std::int64_t ranks) {
  struct Size {
    std::int64_t hidden, rows;
  };
  // Hidden states of 4 KB to 4 MB: a ring's messages are an n-th of that. More ranks move more of them.
  const std::array<Size, 4> sizes{{{128, 8}, {512, 32}, {1024, 128}, {2048, ranks == 2 ? 512 : 192}}};
  std::vector<CommunicationProbe> probes;
  for (const Size& size : sizes) {
    const auto add = [&](const char* what, std::vector<std::string> settings) {
      const std::string name = fmt::format("{}-{}-{}x{}", what, ranks, size.rows, size.hidden);
      settings.insert(settings.begin(),
                      {"model.layers=2", fmt::format("model.hidden={}", size.hidden),
                       fmt::format("workload.sequences={}", size.rows), "workload.context=1",
                       fmt::format("model.heads={}", ranks), fmt::format("model.experts={}", 2 * ranks)});
      probes.push_back({name, probe_plan(name, settings)});
    };
    const std::string tp = fmt::format("deployment.attention.tp={}", ranks);
    const std::string ep = fmt::format("deployment.experts.ep={}", ranks);
    for (const std::string algorithm : {"ring", "direct"}) {
      add(("reduce-" + algorithm).c_str(), {tp, ep, "deployment.collectives.all_reduce=" + algorithm});
      add(("gather-" + algorithm).c_str(),
          {tp, ep, "deployment.experts.exchange=dispatch", "deployment.collectives.all_gather=" + algorithm,
           "deployment.collectives.reduce_scatter=" + algorithm});
    }
    add("exchange", {fmt::format("deployment.attention.dp={}", ranks), ep, "deployment.experts.exchange=dispatch"});
    if (ranks <= 4)
      add("stages", {fmt::format("model.layers={}", ranks), fmt::format("deployment.pipeline.stages={}", ranks)});
  }
  return probes;
}

}  // namespace foretoken::calibrate
