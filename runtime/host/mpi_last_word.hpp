// The one exception to "libraries never print": when a process is about to be ended by MPI_Abort or a signal, nobody
// above will get the chance.
#pragma once

#include <string>

namespace foretoken::runtime::host {

/// "foretoken: <message>" to standard error, in one write.
void say_last_word(const std::string& message);

}  // namespace foretoken::runtime::host
