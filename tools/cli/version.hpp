// Which foretoken this is.
#pragma once

#include <string_view>

namespace foretoken::cli {

/// "0.1.0", as in CMakeLists.txt.
std::string_view version();

/// The first 12 digits of the commit that was built, with "-modified" behind them if the tree had uncommitted changes;
/// "unknown" when it was built outside a git checkout.
std::string_view commit();

}  // namespace foretoken::cli
