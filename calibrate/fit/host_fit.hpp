// From measured ops to what each term costs a core, and how well that predicts probes that the fit did not see.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "calibrate/fit/held_out.hpp"
#include "calibrate/fit/host_samples.hpp"
#include "core/calibration_host.hpp"

namespace foretoken::calibrate {

/// Errors of one family's ops, or of whole steps, on probes that were held out; without probes to hold out, of the fit.
struct HostResidual {
  std::string what;  ///< "product", "steps", "communication by threads"
  HostLoad load = HostLoad::alone;
  bool held_out = true;
  HeldOut error;
  Seconds time{};  ///< all samples together
};

/// One probe's step (or all communications of it): the sum over its ops, measured and predicted without it.
struct ProbeResidual {
  std::string probe;
  std::string communicator;
  HostLoad load = HostLoad::alone;
  Seconds measured{};
  Seconds predicted{};
};

struct HostFit {
  std::array<HostTerms, 2> unit_costs;  ///< [HostLoad] of compute
  std::array<HostCalibration::Family, kHostFamilyNames.size()> families;
  std::vector<HostCommunication> communication;
  std::vector<HostResidual> residuals;
  std::vector<ProbeResidual> probes;
  std::vector<std::string> unfelt;  ///< terms that no sample has: their costs are first guesses
  std::vector<std::string> notes;   ///< what was not measured and stands for it
};

/// Fits the costs of all terms, by load, and those of every communicator's messages:
///
///   minimise over costs > 0 the sum over ops of rho(log((predicted + e) / (measured + e)))     see
///   fit_log_least_squares
///
/// with e = 0.3 us, about what reading the clock of a thread's CPU time takes: the ratio of shorter times means little.
/// Families whose terms meet in one op (the products and `choose`) are fitted together, others apart. Equal ops of a
/// probe count once. Each cost is drawn to a first guess, as weakly as 1 % of error for a factor of e: terms that the
/// samples cannot tell apart so share what they cost together. Crowded costs are drawn to those alone; a load that was
/// not measured takes the other's.
///
/// Held out are whole probes, one after the other. `source` of communication is left to the caller.
///
/// @param samples  of any number of probes; amounts with the time that streaming takes beyond the nearest cache
/// @throws Error{invalid_input} if there is none of compute or none of communication
HostFit fit_host(std::span<const HostSample> samples, std::int64_t seed);

/// The residual tables, in Markdown.
std::string host_residual_markdown(const HostFit& fit);

}  // namespace foretoken::calibrate
