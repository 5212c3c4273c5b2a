// The residual tables of topologies/calibrations/README.md, generated so that they cannot drift from the file.
#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "calibrate/fit/coverage.hpp"
#include "calibrate/fit/fit_published.hpp"

namespace foretoken::calibrate {

namespace {

std::string percent(double value) { return fmt::format("{:.1f} %", 100 * value); }
std::string signed_percent(double value) { return fmt::format("{:+.1f} %", 100 * value); }

void add_fit(std::string& out, const std::string& kind, const std::string& dtype, const KernelFit& fit) {
  const HeldOut& h = fit.held_out;
  out += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} |\n", kind, fit.framework, dtype, percent(h.median),
                     percent(h.p90), signed_percent(h.signed_mean), h.rows, h.groups);
}

void add_sources(std::string& out, const std::vector<CalibrationSource>& sources) {
  for (const CalibrationSource& source : sources)
    out += fmt::format("| {} | {} | {} | {} | {} |\n", source.id, source.citation, source.license, source.rows,
                       source.note);
}

void add_coverage(std::string& out, const std::vector<Coverage>& all) {
  constexpr std::int64_t rows_min = 200;
  constexpr double doubtful = 0.05;
  std::vector<double> p_values;
  for (const Coverage& c : all) {
    out += fmt::format("| {} | {} | {} | {} | {:.2g} | {} |\n", c.family, c.rows, c.folds,
                       percent(static_cast<double>(c.covered) / static_cast<double>(c.rows)), c.p_value,
                       c.rows < rows_min       ? "too few rows to tell"
                       : c.p_value >= doubtful ? "yes"
                                               : "no");
    if (c.rows >= rows_min) p_values.push_back(c.p_value);
  }
  const std::size_t families = p_values.size();
  out += fmt::format(
      "\nEach of the {} tests of 200 rows or more fails with a chance of 5 % if all intervals are right; tested "
      "together "
      "(Holm's method, 5 %) {} of\nthem fail.\n",
      families, rejected_together(std::move(p_values), doubtful));
}

}  // namespace

std::string residual_markdown(const ComputeFit& compute, const NetworkFit& network, const FoldOptions& folds) {
  std::string out = fmt::format(
      "## Compute: error on held-out groups\n\n"
      "Predicted / measured - 1, every row predicted by a fit that did not see its group: an (n, k) pair for GEMM, a "
      "head\n"
      "shape for attention. Up to {} folds, groups dealt out by seed {}. Within one framework each.\n\n"
      "| kernel | framework | dtype | median of abs. | p90 of abs. | signed mean | rows | groups |\n"
      "|---|---|---|---|---|---|---|---|\n",
      folds.folds, folds.seed);
  for (const GemmFit& fit : compute.calibration.gemm) add_fit(out, "GEMM", std::string(name_of(fit.dtype)), fit);
  for (const AttentionFit& fit : compute.calibration.attention_decode)
    add_fit(out, "attention, decode", fmt::format("bf16, KV {}", name_of(fit.kv_dtype)), fit);
  for (const AttentionFit& fit : compute.calibration.attention_prefill)
    add_fit(out, "attention, prefill", fmt::format("bf16, KV {}", name_of(fit.kv_dtype)), fit);

  out +=
      "\n## Compute: checks against what nothing was fitted to\n\n"
      "| what | framework | median of abs. | p90 of abs. | signed mean | rows |\n"
      "|---|---|---|---|---|---|\n";
  for (const ComputeCheck& check : compute.checks)
    out += fmt::format("| {} | {} | {} | {} | {} | {} |\n", check.what, check.framework, percent(check.error.median),
                       percent(check.error.p90), signed_percent(check.error.signed_mean), check.error.rows);

  out +=
      "\n## Coverage of 90 % intervals\n\n"
      "Share of rows whose |predicted / measured - 1| is at most the 90th percentile over the rows of all other folds: "
      "neither\n"
      "fit nor width saw the row. p: of an exact binomial test of 90 %, which takes rows for independent; those of one "
      "group are\n"
      "not, so that it rejects more than it should.\n\n"
      "| family | rows | folds | covered | p | compatible with 90 % |\n"
      "|---|---|---|---|---|---|\n";
  std::vector<Coverage> coverage = compute.coverage;
  coverage.insert(coverage.end(), network.coverage.begin(), network.coverage.end());
  add_coverage(out, coverage);

  out +=
      "\n## Network: score by family\n\n"
      "Median of |predicted / measured - 1| on rows that the fit did not see. It saw, of nccl-tests, sizes that are "
      "odd "
      "powers\n"
      "of two; of DeepEP, every other (hidden, top-k, experts) in one node, every other row on two nodes. Each "
      "collective is\n"
      "predicted by the algorithm that NCCL takes for it. An exchange's size is what one rank sends.\n\n"
      "Of the run on 2 nodes by NCCL's choice two rows are neither fitted nor scored: 8 and 256 bytes take 2 to 3\n"
      "times as long as their neighbours, and as they themselves do in place, which is warming up. 256 bytes would\n"
      "have been scored. That NCCL changes algorithm above 512 KiB was read off all rows of this run, the scored ones\n"
      "included: there the score says how well times are predicted, not choices.\n\n"
      "| family | scored on | < 1 MiB | rows | >= 1 MiB | rows |\n"
      "|---|---|---|---|---|---|\n";
  for (const NetworkScore& s : network.scores)
    out += fmt::format("| {} | {} | {} | {} | {} | {} |\n", s.family, s.scored_on,
                       s.small_rows == 0 ? "" : percent(s.small_median), s.small_rows,
                       s.large_rows == 0 ? "" : percent(s.large_median), s.large_rows);

  out +=
      "\n## Network: residuals\n\n"
      "| family | rows | held out | median of abs. | p90 of abs. | signed mean | count |\n"
      "|---|---|---|---|---|---|---|\n";
  for (const NetworkResidual& r : network.residuals)
    out += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", r.family, r.subset, r.held_out ? "yes" : "no",
                       percent(r.median), percent(r.p90), signed_percent(r.signed_mean), r.rows);

  out +=
      "\n## Sources\n\n"
      "| id | origin | licence | rows used | conditions |\n"
      "|---|---|---|---|---|\n";
  add_sources(out, compute.sources);
  add_sources(out, network.sources);
  return out;
}

}  // namespace foretoken::calibrate
