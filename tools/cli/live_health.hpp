// Whether a live run measured what it is meant to: on an emulated cluster the network, not the cores.
#pragma once

#include <optional>
#include <string>

namespace foretoken::cli {

/// @param busy      share of the computer's core time that anybody used meanwhile, where it is known
/// @param busy_max  that is allowed
/// @param what      was measured, if not one run alone
/// @throws Error{unhealthy} if more was used
void require_idle_cores(const std::optional<double>& busy, double busy_max, const std::string& what = "");

}  // namespace foretoken::cli
