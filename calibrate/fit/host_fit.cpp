#include "calibrate/fit/host_fit.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "calibrate/fit/kernel_fit.hpp"
#include "calibrate/fit/log_least_squares.hpp"
#include "core/error.hpp"

namespace foretoken::calibrate {
namespace {

constexpr double kResolution = 0.3e-6;
constexpr double kPull = 0.01;

using Loads = std::array<HostTerms, 2>;

// Seconds per unit: the order of magnitude on a server core of the 2020s.
constexpr std::array<double, kHostTerms.size()> kFirstGuess{
    5e-7, 3e-10, 1e-9,  3e-11, 1e-10, 1e-10, 1e-9,  // product: call, weights, memory, rows4, rows2, rows1, edges
    2e-7, 1e-10, 1e-9,  1e-8,                       // vector_product: call, weights, memory, cold
    3e-7, 1e-10, 1e-9,  3e-9,                       // attention: items, kv, memory, scores
    1e-6, 2e-10, 1e-9,  3e-9,  3e-11,               // group_attention: items, kv, memory, scores, products
    1e-7, 1e-9,  3e-10, 1e-9,  1e-8,                // norm: call, elements, added, memory, cold
    1e-7, 5e-10, 1e-9,  1e-8,                       // rope_kv: call, elements, memory, cold
    1e-7, 5e-9,  3e-10, 1e-8,                       // activation: call, elements, gates, cold
    5e-8, 1e-8,  1e-10, 1e-9,  1e-8,                // copy: call, rows, elements, memory, cold
    5e-8, 2e-8,  3e-10, 1e-10, 1e-9,  1e-8,         // unpermute: call, rows, elements, written, memory, cold
    5e-8, 2e-10, 1e-9,  1e-8,                       // add: call, elements, memory, cold
    5e-8, 2e-8,                                     // choose: rows, choices
    5e-8, 5e-10,                                    // sample: call, elements
    1e-6, 1e-6,  5e-7,  1e-10, 1e-10, 1e-10};       // communication: ops, rounds, messages, bytes, added, copied

// Families with an op in common.
const std::vector<std::vector<HostFamily>>& fitted_together() {
  static const std::vector<std::vector<HostFamily>> groups{
      {HostFamily::product, HostFamily::vector_product, HostFamily::choose},
      {HostFamily::attention},
      {HostFamily::group_attention},
      {HostFamily::norm},
      {HostFamily::rope_kv},
      {HostFamily::activation},
      {HostFamily::copy},
      {HostFamily::unpermute},
      {HostFamily::add},
      {HostFamily::sample},
      {HostFamily::communication}};
  return groups;
}

HostTerms first_guess() {
  HostTerms costs;
  for (std::size_t t = 0; t < kHostTerms.size(); ++t) costs[static_cast<HostTerm>(t)] = kFirstGuess[t];
  return costs;
}

bool has_any(const HostTerms& amounts, const std::vector<HostFamily>& families) {
  for (std::size_t t = 0; t < kHostTerms.size(); ++t)
    if (amounts[static_cast<HostTerm>(t)] > 0 &&
        std::find(families.begin(), families.end(), kHostTerms[t].family) != families.end())
      return true;
  return false;
}

struct Measured {
  HostTerms amounts;
  double time = 0;
};

// Equal ops of a probe are one: their median.
std::vector<Measured> distinct(const std::vector<const HostSample*>& samples) {
  std::map<std::pair<std::string, std::vector<double>>, std::vector<double>> times;
  for (const HostSample* sample : samples) {
    std::vector<double> amounts;
    for (std::size_t t = 0; t < kHostTerms.size(); ++t) amounts.push_back(sample->amounts[static_cast<HostTerm>(t)]);
    times[{sample->probe, std::move(amounts)}].push_back(sample->cpu.value());
  }
  std::vector<Measured> result;
  for (auto& [key, values] : times) {
    Measured one;
    for (std::size_t t = 0; t < kHostTerms.size(); ++t) one.amounts[static_cast<HostTerm>(t)] = key.second[t];
    one.time = quantile_of(std::move(values), 0.5);
    result.push_back(one);
  }
  return result;
}

// Costs of one group of families; the terms of others stay as they are in `costs`, which is also what it is drawn to.
void fit_families(const std::vector<HostFamily>& families, const std::vector<const HostSample*>& samples,
                  HostTerms& costs) {
  std::vector<const HostSample*> concerned;
  for (const HostSample* sample : samples)
    if (has_any(sample->amounts, families)) concerned.push_back(sample);
  const std::vector<Measured> measured = distinct(concerned);
  std::vector<HostTerm> terms;
  std::vector<double> start;
  std::vector<double> times;
  for (const Measured& one : measured) times.push_back(one.time + kResolution);
  for (std::size_t t = 0; t < kHostTerms.size(); ++t) {
    const auto term = static_cast<HostTerm>(t);
    if (std::none_of(measured.begin(), measured.end(), [&](const Measured& m) { return m.amounts[term] > 0; }))
      continue;
    terms.push_back(term);
    start.push_back(costs[term]);
    times.push_back(std::pow(costs[term], kPull));
  }
  if (terms.empty()) return;
  const PredictAll predict = [&](std::span<const double> parameters, std::span<double> predictions) {
    for (std::size_t i = 0; i < measured.size(); ++i) {
      predictions[i] = kResolution;
      for (std::size_t p = 0; p < terms.size(); ++p) predictions[i] += parameters[p] * measured[i].amounts[terms[p]];
    }
    for (std::size_t p = 0; p < terms.size(); ++p) predictions[measured.size() + p] = std::pow(parameters[p], kPull);
  };
  const std::vector<double> fitted = fit_log_least_squares(start, times, predict);
  for (std::size_t p = 0; p < terms.size(); ++p) costs[terms[p]] = fitted[p];
}

// Alone first, which is what crowded costs are drawn to. A load without samples takes the other's.
Loads fit_loads(const std::vector<const HostSample*>& samples) {
  std::array<std::vector<const HostSample*>, 2> by_load;
  for (const HostSample* sample : samples) by_load[static_cast<std::size_t>(sample->load)].push_back(sample);
  Loads costs{first_guess(), first_guess()};
  for (const auto& families : fitted_together()) fit_families(families, by_load[0], costs[0]);
  costs[1] = costs[0];
  for (const auto& families : fitted_together()) fit_families(families, by_load[1], costs[1]);
  if (by_load[0].empty()) costs[0] = costs[1];
  return costs;
}

double predict(const Loads& costs, const HostSample& sample) {
  return dot(sample.amounts, costs[static_cast<std::size_t>(sample.load)]);
}

// The family that most of the op's time goes to.
HostFamily family_of_op(const HostTerms& costs, const HostSample& sample) {
  std::array<double, kHostFamilyNames.size()> times{};
  for (std::size_t t = 0; t < kHostTerms.size(); ++t)
    times[static_cast<std::size_t>(kHostTerms[t].family)] +=
        costs[static_cast<HostTerm>(t)] * sample.amounts[static_cast<HostTerm>(t)];
  return static_cast<HostFamily>(std::max_element(times.begin(), times.end()) - times.begin());
}

struct Judged {
  std::vector<double> predicted;  // [sample] by a fit that did not see its probe
  bool held_out = false;
};

// Each probe predicted by a fit to the others.
Judged judge(const std::vector<const HostSample*>& samples, const Loads& all) {
  std::map<std::string, std::vector<std::size_t>> by_probe;
  for (std::size_t i = 0; i < samples.size(); ++i) by_probe[samples[i]->probe].push_back(i);
  Judged judged;
  judged.predicted.resize(samples.size());
  judged.held_out = by_probe.size() > 1;
  for (const auto& [probe, own] : by_probe) {
    std::vector<const HostSample*> others;
    for (const HostSample* sample : samples)
      if (sample->probe != probe) others.push_back(sample);
    const Loads costs = judged.held_out ? fit_loads(others) : all;
    for (const std::size_t i : own) judged.predicted[i] = predict(costs, *samples[i]);
  }
  return judged;
}

HeldOut statistics(std::vector<double> errors, std::size_t probes, bool held_out, std::int64_t seed) {
  HeldOut out = held_out_statistics(std::move(errors));
  out.groups = static_cast<std::int64_t>(probes);
  out.folds = held_out ? out.groups : 0;
  out.seed = seed;
  return out;
}

class Report {
 public:
  Report(HostFit& fit, std::int64_t seed) : fit_(fit), seed_(seed) {}

  // Residuals by what `name` says of a sample, and of whole probes as `whole`.
  void add(const std::vector<const HostSample*>& samples, const Judged& judged, const std::string& whole,
           const std::function<std::string(const HostSample&)>& name) {
    for (const HostLoad load : {HostLoad::alone, HostLoad::crowded}) {
      std::map<std::string, std::pair<std::vector<double>, double>> errors;
      std::map<std::string, ProbeResidual> probes;
      for (std::size_t i = 0; i < samples.size(); ++i) {
        const HostSample& sample = *samples[i];
        if (sample.load != load) continue;
        auto& [list, time] = errors[name(sample)];
        list.push_back(judged.predicted[i] / sample.cpu.value() - 1);
        time += sample.cpu.value();
        ProbeResidual& probe = probes[sample.probe];
        probe.probe = sample.probe;
        probe.communicator = sample.communicator;
        probe.load = load;
        probe.measured += sample.cpu;
        probe.predicted += Seconds(judged.predicted[i]);
      }
      if (probes.empty()) continue;
      std::vector<double> steps;
      Seconds all{};
      for (const auto& entry : probes) {
        steps.push_back(ratio(entry.second.predicted, entry.second.measured) - 1);
        all += entry.second.measured;
        fit_.probes.push_back(entry.second);
      }
      fit_.residuals.push_back(
          {whole, load, judged.held_out, statistics(std::move(steps), probes.size(), judged.held_out, seed_), all});
      for (auto& [what, entry] : errors)
        if (what != whole)
          fit_.residuals.push_back({what, load, judged.held_out,
                                    statistics(entry.first, probes.size(), judged.held_out, seed_),
                                    Seconds(entry.second)});
    }
  }

 private:
  HostFit& fit_;
  std::int64_t seed_;
};

}  // namespace

HostFit fit_host(std::span<const HostSample> samples, std::int64_t seed) {
  std::map<std::string, std::vector<const HostSample*>> by_communicator;
  for (const HostSample& sample : samples) by_communicator[sample.communicator].push_back(&sample);
  const auto compute = by_communicator.extract("");
  if (compute.empty() || by_communicator.empty())
    throw input_error("", "", compute.empty() ? "no compute op was measured" : "no communication was measured",
                      "measure both; scenarios of one rank alone have no messages");
  HostFit fit;
  Report report(fit, seed);
  fit.unit_costs = fit_loads(compute.mapped());
  const Judged judged = judge(compute.mapped(), fit.unit_costs);
  const auto family_of_sample = [&](const HostSample& sample) { return family_of_op(fit.unit_costs[0], sample); };
  report.add(compute.mapped(), judged, "steps",
             [&](const HostSample& sample) { return std::string(name_of(family_of_sample(sample))); });

  for (std::size_t f = 0; f < kHostFamilyNames.size(); ++f) {
    HostCalibration::Family& family = fit.families[f];
    for (const HostSample* sample : compute.mapped()) {
      if (sample->load != HostLoad::alone || !has_any(sample->amounts, {static_cast<HostFamily>(f)})) continue;
      family.shortest = family.longest == Seconds(0) ? sample->cpu : std::min(family.shortest, sample->cpu);
      family.longest = std::max(family.longest, sample->cpu);
    }
    for (const HostResidual& residual : fit.residuals)
      if (residual.what == kHostFamilyNames[f] && residual.load == HostLoad::alone && residual.held_out)
        family.held_out = residual.error;
  }
  for (std::size_t t = 0; t < kHostTerms.size(); ++t) {
    const auto term = static_cast<HostTerm>(t);
    if (kHostTerms[t].family == HostFamily::communication) continue;
    if (std::none_of(compute.mapped().begin(), compute.mapped().end(),
                     [&](const HostSample* sample) { return sample->amounts[term] > 0; }))
      fit.unfelt.push_back(std::string(name_of(kHostTerms[t].family)) + "." + std::string(kHostTerms[t].name));
  }

  for (const auto& [communicator, own] : by_communicator) {
    HostCommunication one;
    one.communicator = communicator;
    one.unit_costs = fit_loads(own);
    std::vector<double> waits;
    for (const HostSample* sample : own) {
      one.measured[static_cast<std::size_t>(sample->load)] = true;
      if (sample->load == HostLoad::alone && sample->amounts[HostTerm::communication_rounds] > 0)
        waits.push_back(sample->wait_per_round.value());
    }
    if (!waits.empty()) one.wake = Seconds(std::max(0.0, quantile_of(std::move(waits), 0.5)));
    for (const HostLoad load : {HostLoad::alone, HostLoad::crowded})
      if (!one.measured[static_cast<std::size_t>(load)])
        fit.notes.push_back(communicator + ": no ranks " +
                            (load == HostLoad::alone ? "with cores of their own" : "without cores of their own") +
                            " were measured; the other load's costs stand for theirs");
    const std::string whole = "communication by " + communicator;
    report.add(own, judge(own, one.unit_costs), whole, [&](const HostSample&) { return whole; });
    for (const HostResidual& residual : fit.residuals)
      if (residual.what == whole && residual.held_out && (residual.load == HostLoad::alone || one.held_out.rows == 0))
        one.held_out = residual.error;
    fit.communication.push_back(std::move(one));
  }
  return fit;
}

}  // namespace foretoken::calibrate
