// Numbers as people read them.
#pragma once

#include <string>

namespace foretoken::cli {

/// Rounded to a whole number, digits in groups of three: 450000.3 -> "450,000".
std::string grouped(double value);

}  // namespace foretoken::cli
