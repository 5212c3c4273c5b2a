// Logs of other tools for tests: the samples of tests/data/import, read whole or spoilt.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "calibrate/import/imported.hpp"
#include "calibrate/import/node_shape.hpp"

namespace foretoken::calibrate {

/// The text of tests/data/import/NAME.
std::string sample(const std::string& name);

/// The text with the first `what` replaced; fails the test if there is none.
std::string with(std::string text, std::string_view what, std::string_view instead);

/// What "log" holds, of the format that it is recognised as.
Imported imported(const std::string& text, const std::vector<std::string>& settings = {}, bool keep_good = false);

/// The message that it is refused with; "" if it is not.
std::string refusal(const std::string& text, const std::vector<std::string>& settings = {});

NodeShape node_shape(const std::string& text);
/// The message that a topology is refused with; "" if it is not.
std::string topology_refusal(const std::string& text);

/// A sample that is spoilt: one text of it is replaced.
struct SpoiltLog {
  std::string sample;
  std::vector<std::string> settings;
  std::string what;  // empty: nothing is replaced, and the log says too little or the settings are wrong
  std::string instead;
  std::string message;  // that it is refused with
};

/// That each is refused with its message, to the letter.
void expect_refused(const std::vector<SpoiltLog>& logs);

}  // namespace foretoken::calibrate
