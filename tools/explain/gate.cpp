#include "tools/explain/gate.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <system_error>
#include <utility>

#include "core/error.hpp"

namespace foretoken::explain {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kFields{
    {{"tpot", "tpot_mean_ms"}, {"tps", "tps"}, {"step", "step_mean_ms"}, {"cpu", "cpu_step_ms"}}};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

}  // namespace

Gate parse_gate(std::string_view condition) {
  const auto fail = [&](std::string_view found) {
    return input_error(fmt::format("--fail-if '{}'", condition), "", found,
                       "write for example --fail-if 'tpot>10%', with tpot, tps, step or cpu; quote it for the shell");
  };
  const auto greater = condition.find('>');
  if (greater == std::string_view::npos) throw fail("there is no '>'");
  const std::string_view field = trimmed(condition.substr(0, greater));
  Gate gate{std::string(condition), "", 0};
  for (const auto& [name, figure] : kFields)
    if (name == field) gate.figure = figure;
  if (gate.figure.empty()) throw fail(fmt::format("\"{}\" is nothing that a comparison has", field));

  std::string_view number = trimmed(condition.substr(greater + 1));
  if (number.empty() || number.back() != '%') throw fail("the threshold is no percentage");
  number = trimmed(number.substr(0, number.size() - 1));
  double percent = 0;
  const auto [rest, status] = std::from_chars(number.data(), number.data() + number.size(), percent);
  if (status != std::errc() || rest != number.data() + number.size() || !std::isfinite(percent) || percent < 0)
    throw fail(fmt::format("\"{}\" is not a number from 0", number));
  gate.threshold = percent / 100;
  return gate;
}

std::vector<GateVerdict> check_gates(const std::vector<Gate>& gates, const std::vector<Figure>& figures) {
  std::vector<GateVerdict> verdicts;
  for (const Gate& gate : gates) {
    const Figure* figure = find_figure(figures, gate.figure);
    if (figure == nullptr)
      throw input_error(fmt::format("--fail-if '{}'", gate.condition), "",
                        fmt::format("this comparison has no {}: a side has none", gate.figure),
                        "leave the gate out, or compare results that have it");
    verdicts.push_back({gate, figure->error(), std::abs(figure->error()) > gate.threshold});
  }
  return verdicts;
}

}  // namespace foretoken::explain
