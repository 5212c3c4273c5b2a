#include "calibrate/measure/device_samples.hpp"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <variant>

#include "calibrate/measure/device_probes.hpp"
#include "calibrate/measure/stopping.hpp"
#include "core/error.hpp"

namespace foretoken::calibrate {
namespace {

using runtime::cuda::MessageKind;
using runtime::cuda::MessageProbe;
using runtime::cuda::Probe;

CollectiveAlgorithm algorithm_named(const std::string& nccl) {
  if (nccl == "tree") return CollectiveAlgorithm::tree;
  if (nccl == "nvls") return CollectiveAlgorithm::nvls;
  if (nccl == "nvlstree") return CollectiveAlgorithm::nvls_tree;
  FORETOKEN_CHECK(nccl == "ring", "a collective is measured by an algorithm that has a name");
  return CollectiveAlgorithm::ring;
}

class Sampler {
 public:
  explicit Sampler(const DeviceMeasurement& measured) : measured_(measured) {}

  DeviceSamples operator()() {
    for (std::size_t i = 0; i < measured_.probes.size(); ++i) {
      time_ = measured_.times[i].median();
      times_[name_of(measured_.probes[i])] = time_;
      std::visit(*this, measured_.probes[i]);
    }
    add_exchanges();
    add_beside();
    return std::move(out_);
  }

  void operator()(const runtime::cuda::CopyProbe& p) {
    (p.cold ? out_.memory : out_.l2_copies).push_back({"copy", p.bytes * 2, time_});
  }
  void operator()(const runtime::cuda::GemmProbe& p) {
    out_.gemm.push_back({kForetokenKernels, p.dtype, p.m, p.n, p.k, time_});
  }
  void operator()(const runtime::cuda::ExpertGemmProbe& p) { out_.experts.push_back({p, time_}); }
  void operator()(const runtime::cuda::AttentionProbe& p) {
    out_.attention.push_back(
        {kForetokenKernels, p.dtype, p.batch, 1, p.context, p.heads, p.kv_heads, p.head_dim, time_});
  }
  void operator()(const runtime::cuda::RowwiseProbe& p) {
    out_.memory.push_back({std::string(name_of(p.kind)), traffic(p), time_});
  }
  void operator()(const runtime::cuda::LaunchProbe& p) { out_.launches.push_back({p, time_}); }
  // What a health check asks of links is no calibration's.
  void operator()(const runtime::cuda::PairProbe& /*p*/) {}
  void operator()(const MessageProbe& p) {
    if (p.beside_gemm) return;
    const auto collective = [&](CollectiveOp op) {
      CollectiveSample sample;
      sample.group = kForetokenKernels;
      sample.op = op;
      sample.ranks = static_cast<int>(p.ranks);
      sample.nodes = static_cast<int>(p.nodes);
      sample.bytes = p.bytes;
      sample.time = time_;
      out_.collectives.push_back({algorithm_named(p.algorithm), sample});
    };
    switch (p.kind) {
      case MessageKind::all_reduce: collective(CollectiveOp::all_reduce); return;
      case MessageKind::all_gather: collective(CollectiveOp::all_gather); return;
      case MessageKind::reduce_scatter: collective(CollectiveOp::reduce_scatter); return;
      case MessageKind::send_recv: out_.messages.push_back({p.nodes > 1, p.bytes, time_}); return;
      case MessageKind::all_to_all: return;  // add_exchanges
    }
  }

 private:
  void add_exchanges() {
    for (const Probe& probe : measured_.probes) {
      const auto* const p = std::get_if<MessageProbe>(&probe);
      if (p == nullptr || p->kind != MessageKind::all_to_all || p->beside_gemm) continue;
      for (const ExchangedTokens& tokens : exchanged_tokens()) {
        ExchangeSample sample;
        sample.group = kForetokenKernels;
        sample.ranks = static_cast<int>(p->ranks);
        sample.nodes = static_cast<int>(p->nodes);
        sample.hidden = static_cast<int>(tokens.hidden);
        sample.tokens = static_cast<int>(tokens.tokens);
        sample.top_k = static_cast<int>(tokens.top_k);
        sample.experts = sample.ranks;
        const std::int64_t rows = tokens.tokens * tokens.top_k;
        const Seconds time = times_.at(name_of(probe));
        if (dispatch_row_bytes(sample.hidden) * rows == p->bytes) sample.dispatch = time;
        if (combine_row_bytes(sample.hidden) * rows == p->bytes) sample.combine = time;
        if (sample.dispatch > Seconds(0) || sample.combine > Seconds(0)) out_.exchanges.push_back(sample);
      }
    }
  }

  void add_beside() {
    for (const Probe& probe : measured_.probes) {
      const auto* const p = std::get_if<MessageProbe>(&probe);
      if (p == nullptr || !p->beside_gemm) continue;
      MessageProbe by_itself = *p;
      by_itself.beside_gemm = false;
      const auto alone = times_.find(name_of(Probe(by_itself)));
      if (alone != times_.end()) out_.beside.push_back({*p, alone->second, times_.at(name_of(probe))});
    }
  }

  const DeviceMeasurement& measured_;
  Seconds time_{};
  std::map<std::string, Seconds> times_;
  DeviceSamples out_;
};

}  // namespace

DeviceSamples samples_of(const DeviceMeasurement& measured) { return Sampler(measured)(); }

std::string device_samples_csv(const DeviceMeasurement& measured) {
  std::string text = "probe,median_us,half_width_us,batches,repetitions,sm_clock_mhz_min,sm_clock_mhz_max\n";
  for (const ProbeTimes& times : measured.times) {
    const double half = median_half_width(times.picoseconds);
    text += fmt::format("{},{:.6g},{},{},{},{},{}\n", times.probe, times.median().value() * 1e6,
                        std::isfinite(half) ? fmt::format("{:.3g}", half * 1e-6) : "", times.picoseconds.size(),
                        times.repetitions, times.conditions.sm_clock_mhz_min, times.conditions.sm_clock_mhz_max);
  }
  return text;
}

}  // namespace foretoken::calibrate
