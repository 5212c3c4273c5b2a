// The fit of a computer's terms to samples that were made up from known costs.
#include "calibrate/fit/host_fit.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "calibrate/measure/probes.hpp"
#include "core/error.hpp"
#include "runtime/row_tables.hpp"
#include "sim/communication/host_schedule_amounts.hpp"
#include "sim/cost/host_amounts.hpp"

namespace foretoken::calibrate {
namespace {

using ::testing::HasSubstr;

// Each term costs something of its own: seconds per unit of calls in microseconds, of elements below nanoseconds.
HostTerms made_up(double factor) {
  HostTerms costs;
  for (std::size_t t = 0; t < kHostTerms.size(); ++t) {
    const std::string_view name = kHostTerms[t].name;
    const bool of_calls = name == "call" || name == "items" || name == "ops" || name == "rounds" || name == "messages";
    const bool of_rows = name == "rows" || name == "choices";
    costs[static_cast<HostTerm>(t)] = factor *
                                      (of_calls  ? 1e-6
                                       : of_rows ? 2e-8
                                                 : 2e-10) *
                                      (1 + 0.1 * static_cast<double>(t % 7));
  }
  return costs;
}

HostSample sample_of(const std::string& probe, const HostTerms& amounts, HostLoad load, const std::string& by) {
  HostSample sample;
  sample.probe = probe;
  sample.communicator = by;
  sample.load = load;
  sample.kind = "made_up";
  sample.op = "op";
  sample.amounts = amounts;
  sample.cpu = Seconds(dot(amounts, made_up(load == HostLoad::alone ? 1 : 1.5)));
  sample.count = 3;
  sample.wait_per_round = by.empty() ? Seconds(0) : Seconds(7e-6);
  return sample;
}

// The ops of the built-in probes, whose operands are 0.1 ns per byte beyond the nearest cache; and collectives.
std::vector<HostSample> made_up_samples() {
  std::vector<HostSample> samples;
  for (const HostLoad load : {HostLoad::alone, HostLoad::crowded}) {
    double distance = 0;
    for (const ComputeProbe& probe : built_in_compute_probes()) {
      const runtime::RowTables tables(probe.plan, probe.rank);
      const plan::Role& role = probe.plan.program.role_of(probe.rank);
      distance += 0.02e-9;
      for (const plan::Op& op : role.ops) {
        std::vector<std::int64_t> rows;
        if (op.layer >= probe.plan.scenario.model.dense_layers)
          rows = tables.hosted(0, op.layer, op.micro_batch, -1).rows_of_expert;
        samples.push_back(sample_of(probe.name, sim::host_amounts(role, op, rows, Seconds(distance)), load, ""));
      }
    }
    for (const std::int64_t members : {2, 3, 4, 8})
      for (const std::int64_t bytes : {1 << 10, 1 << 14, 1 << 18, 1 << 22})
        for (const CollectiveOp op : {CollectiveOp::all_reduce, CollectiveOp::all_gather, CollectiveOp::reduce_scatter})
          for (const CollectiveAlgorithm algorithm : {CollectiveAlgorithm::ring, CollectiveAlgorithm::direct})
            samples.push_back(sample_of(fmt::format("{}-{}", members, bytes),
                                        sim::host_collective_amounts(op, algorithm, members, Bytes(bytes)), load,
                                        "threads"));
  }
  return samples;
}

const HostFit& fit_of_made_up() {
  static const HostFit fit = fit_host(made_up_samples(), 1);
  return fit;
}

TEST(HostFit, FindsThePredictionsThatMadeTheSamples) {
  const HostFit& fit = fit_of_made_up();
  for (const HostSample& sample : made_up_samples()) {
    const auto load = static_cast<std::size_t>(sample.load);
    const HostTerms& costs =
        sample.communicator.empty() ? fit.unit_costs[load] : fit.communication.front().unit_costs[load];
    // Drawn a little to the first guesses, and below 0.3 us more so.
    const double tolerance = 0.02 * sample.cpu.value() + 20e-9;
    EXPECT_NEAR(dot(sample.amounts, costs), sample.cpu.value(), tolerance) << sample.probe;
  }
}

TEST(HostFit, RecoversTheCostsThatTakeMostTime) {
  const HostFit& fit = fit_of_made_up();
  for (const HostLoad load : {HostLoad::alone, HostLoad::crowded}) {
    const HostTerms truth = made_up(load == HostLoad::alone ? 1 : 1.5);
    const HostTerms& found = fit.unit_costs[static_cast<std::size_t>(load)];
    for (const HostTerm term : {HostTerm::product_rows4, HostTerm::product_weights, HostTerm::norm_elements,
                                HostTerm::activation_elements, HostTerm::sample_elements, HostTerm::add_elements})
      EXPECT_NEAR(found[term] / truth[term], 1, 0.1) << kHostTerms[static_cast<std::size_t>(term)].name;
  }
  EXPECT_NEAR(fit.communication.front().wake.value(), 7e-6, 1e-12);
}

TEST(HostFit, HoldsOutWholeProbes) {
  const std::vector<HostSample> samples = made_up_samples();
  const HostFit& fit = fit_of_made_up();
  const auto probes = static_cast<std::int64_t>(built_in_compute_probes().size());
  bool steps_found = false;
  for (const HostResidual& residual : fit.residuals) {
    EXPECT_TRUE(residual.held_out);
    if (residual.what != "steps") continue;
    steps_found = true;
    EXPECT_EQ(residual.error.groups, probes);
    EXPECT_EQ(residual.error.folds, probes);
    EXPECT_EQ(residual.error.rows, probes) << "a step is the sum of its ops";
    EXPECT_LT(residual.error.median, 0.02);
  }
  EXPECT_TRUE(steps_found);
  // A probe that behaves like no other is predicted badly, and so shows, even though a fit to it would not.
  std::vector<HostSample> odd = samples;
  for (HostSample& sample : odd)
    if (sample.probe == "wide") sample.cpu = sample.cpu * 3.0;
  const HostFit odd_fit = fit_host(odd, 1);
  int found = 0;
  for (const ProbeResidual& probe : odd_fit.probes) {
    if (probe.probe != "wide") continue;
    ++found;
    EXPECT_LT(ratio(probe.predicted, probe.measured), 0.5);
  }
  EXPECT_EQ(found, 2) << "alone and crowded";
}

TEST(HostFit, SaysWhichTermsNoProbeHas) {
  std::vector<HostSample> samples = made_up_samples();
  std::erase_if(samples, [](const HostSample& sample) { return sample.amounts[HostTerm::group_items] > 0; });
  const HostFit fit = fit_host(samples, 1);
  EXPECT_THAT(fit.unfelt, testing::Contains("group_attention.items"));
  EXPECT_GT(fit.unit_costs[0][HostTerm::group_items], 0);
  EXPECT_EQ(fit.families[static_cast<std::size_t>(HostFamily::group_attention)].longest, Seconds(0));
}

TEST(HostFit, ALoadThatWasNotMeasuredTakesTheOthers) {
  std::vector<HostSample> samples = made_up_samples();
  std::erase_if(samples, [](const HostSample& s) { return !s.communicator.empty() && s.load == HostLoad::alone; });
  const HostFit fit = fit_host(samples, 1);
  const auto& costs = fit.communication.front().unit_costs;
  for (std::size_t t = 0; t < kHostTerms.size(); ++t)
    EXPECT_EQ(costs[0][static_cast<HostTerm>(t)], costs[1][static_cast<HostTerm>(t)]);
  ASSERT_EQ(fit.notes.size(), 1U);
  EXPECT_THAT(fit.notes.front(), HasSubstr("threads"));
}

TEST(HostFit, NeedsComputingAndMessages) {
  std::vector<HostSample> samples = made_up_samples();
  std::erase_if(samples, [](const HostSample& s) { return s.communicator.empty(); });
  EXPECT_THROW((void)fit_host(samples, 1), Error);
  EXPECT_THROW((void)fit_host({}, 1), Error);
}

TEST(HostSamples, ReadBackFromCsv) {
  const std::vector<HostSample> samples = made_up_samples();
  const std::string text = samples_csv(samples);
  const std::vector<HostSample> again = parse_samples(text, "samples.csv");
  ASSERT_EQ(again.size(), samples.size());
  EXPECT_EQ(samples_csv(again), text);
  EXPECT_EQ(again.back().communicator, "threads");
  EXPECT_EQ(again.back().load, HostLoad::crowded);
}

TEST(HostSamples, MalformedOnesNameFileAndLine) {
  const std::string header = samples_csv({});
  const std::string row = "p,,alone,gemm,op,m=1,0,0,1,1,1,1,3,0,product.call 1\n";
  EXPECT_EQ(parse_samples(header + row, "s.csv").size(), 1U);
  const auto message = [&](const std::string& from, const std::string& to) {
    std::string text = row;
    text.replace(text.find(from), from.size(), to);
    try {
      (void)parse_samples(header + text, "s.csv");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_input);
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(message("alone", "lonely"), testing::AllOf(HasSubstr("s.csv"), HasSubstr("2"), HasSubstr("crowded")));
  EXPECT_THAT(message("product.call 1", "product.cell 1"), HasSubstr("measure again"));
  EXPECT_THAT(message("product.call 1", "product.call"), HasSubstr("measure again"));
  EXPECT_THAT(message(",3,0,", ",0,0,"), HasSubstr("count"));
}

}  // namespace
}  // namespace foretoken::calibrate
