// What the tests of predict share: the shipped machine, and text as input.
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "foretoken_places.hpp"
#include "tools/predict/answer.hpp"
#include "tools/predict/predictor.hpp"

namespace foretoken::predict::test {

inline const std::string kTwoNodes = std::string(FORETOKEN_SOURCE_DIR) + "/topologies/hgx-h100-2nodes-ndr400.json";

inline Predictor shipped(const std::string& framework = "") { return {kTwoNodes, "", framework}; }

inline OpLine op_of(const std::string& line) { return read_op(JsonDocument::from_text(line, "ops").root()); }

/// All answers to a text, whose name is "ops".
inline std::vector<Answer> answers_to(const std::string& text, Predictor& predictor) {
  std::istringstream in(text);
  Answers answers(in, "ops", predictor);
  std::vector<Answer> all;
  while (auto answer = answers.next()) all.push_back(std::move(*answer));
  return all;
}

}  // namespace foretoken::predict::test
