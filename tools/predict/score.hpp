// How far predictions are from measurements, by family.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/units.hpp"
#include "tools/predict/answer.hpp"

namespace foretoken::predict {

/// Of one family; an error is predicted / measured - 1, so that a negative one is a prediction that is too fast.
struct FamilyScore {
  std::vector<std::string> family;  // values of the keys that families are made by
  std::int64_t rows = 0;
  double median = 0;      // of errors
  double median_abs = 0;  // of |error|
  double p90_abs = 0;     // of |error|; nearest rank from above
  double worst = 0;       // the error that is largest either way
  std::string worst_where;
  std::int64_t with_interval = 0;  // rows whose prediction has one
  std::int64_t covered = 0;        // of these, rows with the measurement inside
};

struct ScoreTable {
  std::vector<std::string> by;
  std::vector<FamilyScore> families;  // in order of their values
  FamilyScore all;
};

class Score {
 public:
  /// @param by  members of a line that make a family; "op", "dtype" and "framework" mean what was predicted with,
  ///            whether or not the line says it
  explicit Score(std::vector<std::string> by);

  /// @throws Error{invalid_input} if the line has no number > 0 as `measured_us`, or its prediction no time
  void add(const Answer& answer, const Predictor& predictor);

  [[nodiscard]] ScoreTable table() const;

 private:
  struct Row {
    std::vector<std::string> family;
    double error = 0;
    std::string where;
    bool with_interval = false;
    bool covered = false;
  };
  std::vector<std::string> by_;
  std::vector<Row> rows_;
};

std::string score_text(const ScoreTable& table);
/// As tools/cli/score.schema.json describes.
nlohmann::ordered_json score_json(const ScoreTable& table);

}  // namespace foretoken::predict
