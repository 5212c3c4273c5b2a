// The folder that a measurement of this computer or of GPUs is written to.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace foretoken::cli {

/// The file of a measurement's parts: while it is made, and when it is whole.
/// @param launch  tells the ways of starting it apart: "", "-mpi-4"
std::filesystem::path parts_file(const std::filesystem::path& folder, bool whole, std::string_view launch);

/// Makes --out, and makes sure of it before anything is measured.
/// @param files  that will be written there
/// @throws Error{invalid_input} if there cannot be such a folder, or one of the files cannot be written
void make_calibration_folder(const std::filesystem::path& folder, std::span<const char* const> files);

/// As sources are dated: "2026-11-26", in UTC.
std::string today();

}  // namespace foretoken::cli
