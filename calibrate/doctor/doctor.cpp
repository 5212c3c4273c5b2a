#include "calibrate/doctor/doctor.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "calibrate/doctor/checks.hpp"
#include "core/error.hpp"

namespace foretoken::calibrate {

namespace {

// Two healthy machines of a kind differ by a few percent; a fit's own errors are as large.
constexpr double kAsGood = 0.92;
// Rates above the datasheet are impossible; clocks and roundings leave a little room.
constexpr double kPossible = 1.02;
// Latencies vary more, with cables and software.
constexpr double kLatencyAsGood = 0.67;
// On rows that the fit did not see. A steady machine fits to half of this.
constexpr double kHeldOutMax = 0.25;
constexpr int kNvlinks = 18;  // of a GPU since Hopper

std::string figure(const Check& check) {
  std::string text = fmt::format("{}: {:.4g} {}", check.name, check.reached, check.unit);
  if (check.limit) text += fmt::format(", {:.0f} % of the datasheet", 100 * *check.share());
  if (check.sibling) text += fmt::format(", where the sibling would reach {:.4g}", *check.sibling);
  return text;
}

class Doctor {
 public:
  Doctor(const Patient& patient, std::vector<Check> checks) : patient_(patient), checks_(std::move(checks)) {}

  Diagnosis run() {
    impossible();
    compute();
    links();
    latencies();
    held_out();
    std::stable_sort(found_.begin(), found_.end(), [](const Ranked& a, const Ranked& b) {
      return std::pair(!a.finding.impossible, a.good) < std::pair(!b.finding.impossible, b.good);
    });
    Diagnosis out;
    out.checks = std::move(checks_);
    for (Ranked& ranked : found_) out.findings.push_back(std::move(ranked.finding));
    return out;
  }

 private:
  struct Ranked {
    Finding finding;
    double good = 1;  // beside the sibling: less is worse
  };

  void suspect(double good, std::string what, std::vector<const Check*> evidence, std::string likely) {
    std::vector<std::string> figures;
    for (const Check* check : evidence) figures.push_back(figure(*check));
    found_.push_back({{false, std::move(what), fmt::format("{}", fmt::join(figures, "; ")), std::move(likely)}, good});
  }

  [[nodiscard]] const Check& named(const std::string& name) const {
    return *std::find_if(checks_.begin(), checks_.end(), [&](const Check& check) { return check.name == name; });
  }

  void impossible() {
    for (const Check& check : checks_)
      if (check.share() && *check.share() > kPossible)
        found_.push_back(
            {{true, fmt::format("{}: faster than the hardware", check.name), figure(check),
              "bytes or FLOPs counted twice, a unit mistaken (GB for Gb, sparse for dense peaks), operands "
              "left in a cache, or the datasheet of another device"},
             0});
  }

  // Of the checks of one resource and framework; nothing where there is no sibling to compare with.
  [[nodiscard]] std::optional<double> median_good(Resource resource, const std::string* framework,
                                                  std::vector<const Check*>* those = nullptr) const {
    std::vector<double> values;
    for (const Check& check : checks_) {
      if (check.resource != resource || (framework != nullptr && check.framework != *framework)) continue;
      const auto good = check.beside_sibling();
      if (!good) continue;
      values.push_back(*good);
      if (those != nullptr) those->push_back(&check);
    }
    if (values.empty()) return std::nullopt;
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  }

  void compute() {
    std::vector<const Check*> arithmetic_checks;
    std::vector<const Check*> memory_checks;
    const double arithmetic = median_good(Resource::arithmetic, nullptr, &arithmetic_checks).value_or(1);
    const double memory = median_good(Resource::memory, nullptr, &memory_checks).value_or(1);
    if (arithmetic < kAsGood && memory < kAsGood) {
      std::vector<const Check*> all = arithmetic_checks;
      all.insert(all.end(), memory_checks.begin(), memory_checks.end());
      suspect(std::min(arithmetic, memory), "arithmetic and memory are both slow", all,
              "somebody else on the GPU, a MIG slice, a power cap, or times that hold more than the kernel");
    } else if (arithmetic < kAsGood) {
      suspect(arithmetic, "arithmetic is slow, memory is not", arithmetic_checks,
              "SM clocks: throttled by power or heat, or limited; look at clocks and throttle reasons during the "
              "measurement (nvidia-smi -q -d PERFORMANCE,CLOCK)");
    } else if (memory < kAsGood) {
      suspect(memory, "memory is slow, arithmetic is not", memory_checks,
              "memory clock, remapped rows, a MIG slice, or somebody else who copies");
    }
    one_framework(arithmetic, Resource::arithmetic);
    one_framework(memory, Resource::memory);
  }

  // Slow in a framework that others do not share.
  void one_framework(double all, Resource resource) {
    if (all < kAsGood) return;
    std::map<std::string, int> frameworks;
    for (const Check& check : checks_)
      if (check.resource == resource) ++frameworks[check.framework];
    for (const auto& entry : frameworks) {
      std::vector<const Check*> those;
      const auto good = median_good(resource, &entry.first, &those);
      if (!good || *good >= kAsGood) continue;
      suspect(*good,
              entry.first.empty() ? std::string("element-wise kernels are slow")
                                  : fmt::format("kernels of {} are slow, others are not", entry.first),
              those,
              entry.first.empty() ? "a copy that was measured between two GPUs, or with the processor's memory"
                                  : "another version, kernels that were not tuned for this GPU, or a fallback");
    }
  }

  void links() {
    const Check& ring = named("all-reduce, ring, 8 GPUs");
    const Check& nvls = named("all-reduce, NVLS, 8 GPUs");
    if (nvls.reached <= ring.reached)
      suspect(nvls.beside_sibling().value_or(nvls.reached / ring.reached), "NVLS is no faster than a ring",
              {&nvls, &ring},
              "NVLink SHARP was off while it was measured (NCCL_NVLS_ENABLE, fabric manager, containers without IMEX), "
              "and the ring was measured twice");
    const Check& nvlink = named("NVLink");
    if (const auto good = nvlink.beside_sibling(); good && *good < kAsGood)
      suspect(*good, "NVLink is slow", {&nvlink},
              fmt::format("{:.0f} of {} links' worth is missing: look at nvidia-smi nvlink --status, or at another "
                          "process on the links",
                          std::round((1 - *good) * kNvlinks), kNvlinks));
    for (const char* name : {"NIC", "PCIe to the NIC", "dispatch over the NIC", "combine over the NIC"}) {
      const Check& check = named(name);
      const auto good = check.beside_sibling();
      if (!good || *good >= kAsGood) continue;
      suspect(*good, fmt::format("{} is slow", name), {&check},
              *good < 0.6 ? "half or less: one port of two, PCIe of the generation before or with half its lanes, or a "
                            "NIC on another rail or socket than its GPU"
                          : "a NIC far from its GPU (nvidia-smi topo -m should say PIX), GPUDirect RDMA off, or a "
                            "network that others share");
    }
  }

  void latencies() {
    for (const Check& check : checks_) {
      const auto good = check.beside_sibling();
      if (check.resource != Resource::latency || !good || *good >= kLatencyAsGood) continue;
      suspect(*good, fmt::format("a {} starts late", check.name), {&check},
              check.name == "message in a node"
                  ? "peer access off, so that messages pass through the processor's memory"
                  : "GPUDirect RDMA off, traffic that crosses rails, or a processor that saves power");
    }
  }

  void held_out() {
    const auto look = [this](const KernelFit& fit, const std::string& kind) {
      const auto p90 = fit.held_out.known_p90();
      if (!p90 || *p90 <= kHeldOutMax) return;
      found_.push_back({{false, fmt::format("{} of {} fits badly", kind, fit.framework),
                         fmt::format("90 % of the errors on {} rows that the fit did not see are below {:.0f} %",
                                     fit.held_out.rows, 100 * *p90),
                         "times that jump between runs (clocks, other users), or kernels that change with the shape"},
                        1 - *p90});
    };
    const ComputeCalibration& compute = patient_.calibration.compute;
    for (const GemmFit& fit : compute.gemm) look(fit, fmt::format("GEMM in {}", name_of(fit.dtype)));
    for (const AttentionFit& fit : compute.attention_decode) look(fit, "decode attention");
    for (const AttentionFit& fit : compute.attention_prefill) look(fit, "prefill attention");
  }

  const Patient& patient_;
  std::vector<Check> checks_;
  std::vector<Ranked> found_;
};

void require_sound(const Patient& patient) {
  if (patient.calibration.host)
    throw input_error(patient.calibration.file, "/host", "is of a computer's CPUs",
                      "the errors of such a calibration are in the README beside it; this looks at GPUs");
  require_calibration_for(patient.calibration, patient.device);
}

}  // namespace

std::optional<double> Check::beside_sibling() const {
  if (!sibling) return std::nullopt;
  return resource == Resource::latency ? *sibling / reached : reached / *sibling;
}

Diagnosis diagnose(const Patient& patient, const std::optional<Patient>& sibling) {
  require_sound(patient);
  std::vector<Check> checks = checks_of(patient);
  if (sibling) {
    require_sound(*sibling);
    const std::vector<Check> others = checks_of(*sibling);
    for (Check& check : checks) {
      const auto same =
          std::find_if(others.begin(), others.end(), [&](const Check& other) { return other.name == check.name; });
      if (same == others.end()) continue;
      // By its share of its own datasheet; without one both are the same kind of link.
      check.sibling = check.limit && same->limit ? same->reached / *same->limit * *check.limit : same->reached;
    }
  }
  return Doctor(patient, std::move(checks)).run();
}

}  // namespace foretoken::calibrate
