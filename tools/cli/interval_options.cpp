#include "tools/cli/interval_options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>

#include "core/error.hpp"
#include "tools/cli/validators.hpp"

namespace foretoken::cli {
namespace {

std::optional<std::int64_t> whole_number(std::string_view text, std::int64_t min, std::int64_t max) {
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, status] = std::from_chars(text.data(), end, value);
  if (status != std::errc() || rest != end || value < min || value > max) return std::nullopt;
  return value;
}

}  // namespace

void add_interval_options(CLI::App& command, IntervalOptions& options) {
  command
      .add_option("--errors", options.errors,
                  "How far predictions of ops are off (kind model_errors), for the 90 % interval (default: as shipped "
                  "for the calibration)")
      ->type_name("FILE")
      ->check(kNotEmpty);
  command
      .add_option("--interval", options.interval,
                  "How the 90 % interval is found: first-order (default), from shares of the critical path; mc:N or "
                  "mc:N:SEED, also by N draws of the errors, each of which times the run anew (seed 1); sim:N or "
                  "sim:N:SEED, by draws each of which is simulated again: some hundred times slower, and follows how "
                  "links are shared and who waits")
      ->type_name("METHOD")
      ->check(kNotEmpty);
}

std::optional<DrawnMethod> drawn_method(const std::string& interval) {
  if (interval == "first-order") return std::nullopt;
  std::string_view rest = interval;
  const bool simulated = rest.starts_with("sim:");
  if (simulated || rest.starts_with("mc:")) {
    rest.remove_prefix(rest.find(':') + 1);
    const std::size_t colon = rest.find(':');
    const auto count = whole_number(rest.substr(0, colon), explain::kDrawsMin, explain::kDrawsMax);
    const auto seed = colon == std::string_view::npos ? std::optional<std::int64_t>(1)
                                                      : whole_number(rest.substr(colon + 1), 0, std::int64_t{1} << 53);
    if (count && seed) return DrawnMethod{{*count, *seed}, simulated};
  }
  throw input_error(
      "--interval " + interval, "", "is not known",
      fmt::format("write first-order, or mc:N or mc:N:SEED (sim:N to simulate each draw) with N from {} to {}",
                  explain::kDrawsMin, explain::kDrawsMax));
}

}  // namespace foretoken::cli
