// Commands that only pass on what others made: schema, calibrate fit, calibrate derive.
#include <fmt/format.h>
#include <fmt/ostream.h>
#include <fmt/ranges.h>

#include <ostream>

#include "calibrate/fit/derive.hpp"
#include "calibrate/fit/fit_published.hpp"
#include "core/error.hpp"
#include "core/quantity_text.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/schemas.hpp"
#include "tools/cli/write_file.hpp"

namespace foretoken::cli {

void run_schema(const std::string& name, std::ostream& out) {
  const auto text = schema_text(name);
  if (!text)
    throw input_error("schema " + name, "", "there is no such format",
                      fmt::format("write one of {}", fmt::join(schema_names(), ", ")));
  out << *text;
}

void run_fit(const FitOptions& options, std::ostream& out, std::ostream& err) {
  err << fmt::format("fitting; the residuals on held-out groups (seed {}) take most of the time\n", options.seed);
  calibrate::FoldOptions folds;
  folds.seed = options.seed;
  const calibrate::FitReport report =
      calibrate::fit_to_files(calibrate::FitFiles{options.sources, options.device, options.out, options.report, folds});
  out << report.residuals;
}

void run_derive(const DeriveOptions& options, std::ostream& out) {
  calibrate::DeriveOptions how;
  how.name = options.out.stem().string();
  how.at_best = options.at_best == "assumed" ? Provenance::assumed : Provenance::extrapolated;
  if (!options.nvlink.empty()) {
    how.nvlink = parse_bandwidth(options.nvlink);
    if (!how.nvlink || *how.nvlink < BytesPerSecond(1e3) || *how.nvlink > BytesPerSecond(1e14))
      throw input_error("--nvlink", "", fmt::format("\"{}\" is no bandwidth", options.nvlink),
                        "write a number and a unit, from 1 kB/s to 100 TB/s: \"900 GB/s\"");
  }
  for (const std::filesystem::path& input : {options.from, options.measured, options.device})
    refuse_to_replace(options.out, input);
  const DeviceSpec device = read_device_spec(options.device);
  const Calibration from = read_calibration(options.from);
  write_file(options.out, calibration_text(calibrate::derive(from, read_device_spec(options.measured), device, how)));
  fmt::print(out, "{}: {} derived from {}; predictions from it are {} at best\n", options.out.string(), device.name,
             from.name, options.at_best);
}

}  // namespace foretoken::cli
