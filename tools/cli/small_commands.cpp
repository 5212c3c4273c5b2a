// Commands that only pass on what others made: schema, calibrate fit.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <ostream>

#include "calibrate/fit/fit_published.hpp"
#include "core/error.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/schemas.hpp"

namespace foretoken::cli {

void run_schema(const std::string& name, std::ostream& out) {
  const auto text = schema_text(name);
  if (!text)
    throw input_error("schema " + name, "", "there is no such format",
                      fmt::format("write one of {}", fmt::join(schema_names(), ", ")));
  out << *text;
}

void run_fit(const FitOptions& options, std::ostream& out, std::ostream& err) {
  err << "fitting; the residuals on held-out groups take most of the time\n";
  const calibrate::FitReport report =
      calibrate::fit_to_files(calibrate::FitFiles{options.sources, options.device, options.out, options.report, {}});
  out << report.residuals;
}

}  // namespace foretoken::cli
