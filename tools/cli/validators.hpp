// What an argument on the command line may not be, for all commands alike.
#pragma once

#include <CLI/CLI.hpp>
#include <cmath>
#include <string>

namespace foretoken::cli {

// An argument of nothing is usually a variable that was not set.
inline const CLI::Validator kNotEmpty([](const std::string& text) { return text.empty() ? "is empty" : std::string(); },
                                      "");

// A range lets "nan" pass, which is neither below nor above anything.
inline const CLI::Validator kNotNan(
    [](const std::string& text) {
      double value = 0;
      return CLI::detail::lexical_cast(text, value) && std::isnan(value) ? "is not a number" : std::string();
    },
    "");

}  // namespace foretoken::cli
