#include "tools/cli/version.hpp"

#include "foretoken_version.hpp"

namespace foretoken::cli {

std::string_view version() { return FORETOKEN_VERSION; }
std::string_view commit() { return FORETOKEN_COMMIT; }

}  // namespace foretoken::cli
