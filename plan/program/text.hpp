// The Program as text by role: for people, for diffs, for golden files, and what program_hash covers.
#pragma once

#include <string>

#include "plan/program/program.hpp"

namespace foretoken::plan {

/// Canonical: the same Program gives the same bytes, a different one different bytes.
std::string to_text(const Program& program);

/// 32 hexadecimal digits (XXH3, 128 bits) of a canonical text.
std::string hash_of(const std::string& canonical_text);

}  // namespace foretoken::plan
