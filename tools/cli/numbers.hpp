// Numbers as people read them.
#pragma once

#include <string>

namespace foretoken::cli {

/// Rounded to a whole number, digits in groups of three: 450000.3 -> "450,000".
std::string grouped(double value);

/// Decimals for a table: five significant digits of its largest number, from 1 to 9. Of nothing above 0: 3.
int decimals_for(double largest);

}  // namespace foretoken::cli
