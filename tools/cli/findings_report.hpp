// What made two results differ, in text and in JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tools/explain/compare.hpp"

namespace foretoken::cli {

/// The findings, largest first, of the steps of the waterfall.
nlohmann::ordered_json findings_json(const explain::Waterfall& waterfall,
                                     const std::vector<explain::Finding>& findings);

/// The largest ones, a line each, the rest in one; before them what all follows from, where that is known. Empty if
/// there is no difference.
std::string findings_text(const explain::Comparison& comparison);

}  // namespace foretoken::cli
