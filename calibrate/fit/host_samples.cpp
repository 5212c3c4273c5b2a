#include "calibrate/fit/host_samples.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <sstream>

#include "calibrate/import/csv_table.hpp"

namespace foretoken::calibrate {
namespace {

enum Column : std::size_t {
  probe,
  communicator,
  load,
  kind,
  op,
  shape,
  routed_step,
  reuse_bytes,
  cpu_us,
  cpu_q10_us,
  cpu_q90_us,
  wall_us,
  count,
  wait_per_round_us,
  amounts
};
constexpr std::array<std::string_view, 15> kColumns{
    "probe",       "communicator",      "load",   "kind",       "op",         "shape",
    "routed_step", "reuse_bytes",       "cpu_us", "cpu_q10_us", "cpu_q90_us", "wall_us",
    "count",       "wait_per_round_us", "amounts"};

std::string term_name(std::size_t t) { return fmt::format("{}.{}", name_of(kHostTerms[t].family), kHostTerms[t].name); }

HostTerms parse_amounts(const CsvTable& table, std::size_t row) {
  HostTerms terms;
  std::istringstream words(table.text(row, amounts));
  std::string name;
  double amount = 0;
  while (words >> name) {
    std::size_t t = 0;
    while (t < kHostTerms.size() && term_name(t) != name) ++t;
    if (t == kHostTerms.size() || !(words >> amount) || !(amount >= 0))
      table.fail(row, amounts, "a term and its amount expected; remove the file and measure again");
    terms[static_cast<HostTerm>(t)] = amount;
  }
  return terms;
}

}  // namespace

std::string samples_csv(std::span<const HostSample> samples) {
  std::string text = fmt::format("{}\n", fmt::join(kColumns, ","));
  for (const HostSample& s : samples) {
    std::string named;
    for (std::size_t t = 0; t < kHostTerms.size(); ++t) {
      const double amount = s.amounts[static_cast<HostTerm>(t)];
      if (amount != 0) named += fmt::format("{}{} {:.9g}", named.empty() ? "" : " ", term_name(t), amount);
    }
    text += fmt::format("{},{},{},{},{},{},{},{},{:.4f},{:.4f},{:.4f},{:.4f},{},{:.4f},{}\n", s.probe, s.communicator,
                        s.load == HostLoad::alone ? "alone" : "crowded", s.kind, s.op, s.shape, s.routed_step,
                        s.reuse_distance.value(), s.cpu.value() * 1e6, s.cpu_q10.value() * 1e6, s.cpu_q90.value() * 1e6,
                        s.wall.value() * 1e6, s.count, s.wait_per_round.value() * 1e6, named);
  }
  return text;
}

std::vector<HostSample> parse_samples(std::string_view text, const std::string& name) {
  const CsvTable table = CsvTable::from_text(text, name, kColumns);
  std::vector<HostSample> samples;
  for (std::size_t row = 0; row < table.size(); ++row) {
    const auto time = [&](Column column) { return Seconds(table.number(row, column, -1e12, 1e12) * 1e-6); };
    HostSample s;
    s.probe = table.text(row, probe);
    s.communicator = table.text(row, communicator);
    const std::string& how = table.text(row, load);
    if (how != "alone" && how != "crowded") table.fail(row, load, "alone or crowded expected");
    s.load = how == "alone" ? HostLoad::alone : HostLoad::crowded;
    s.kind = table.text(row, kind);
    s.op = table.text(row, op);
    s.shape = table.text(row, shape);
    s.routed_step = table.integer(row, routed_step, 0, 1'000'000'000);
    s.reuse_distance = Bytes(table.integer(row, reuse_bytes, 0, std::int64_t{1} << 53));
    s.amounts = parse_amounts(table, row);
    s.cpu = Seconds(table.number(row, cpu_us, 1e-4, 1e12) * 1e-6);
    s.cpu_q10 = time(cpu_q10_us);
    s.cpu_q90 = time(cpu_q90_us);
    s.wall = time(wall_us);
    s.count = table.integer(row, count, 1, 1'000'000'000'000);
    s.wait_per_round = time(wait_per_round_us);
    samples.push_back(std::move(s));
  }
  return samples;
}

}  // namespace foretoken::calibrate
