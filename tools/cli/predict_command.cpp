// foretoken predict and foretoken score: ops one by one, answered or held against what was measured.
#include <fmt/format.h>

#include <fstream>
#include <istream>
#include <nlohmann/json.hpp>
#include <ostream>

#include "core/error.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/numbers.hpp"
#include "tools/cli/shipped_data.hpp"
#include "tools/cli/version.hpp"
#include "tools/predict/answer.hpp"
#include "tools/predict/predictor.hpp"
#include "tools/predict/score.hpp"

namespace foretoken::cli {
namespace {

predict::Predictor predictor_of(const PredictOptions& options) {
  constexpr const char* usual = "topologies/hgx-h100-2nodes-ndr400.json";
  return {options.topology.empty() ? shipped_file(usual) : options.topology, options.calibration, options.framework};
}

// A file, or what is piped in.
class Input {
 public:
  Input(const std::filesystem::path& file, std::istream& in) : stream_(&in), name_("stdin") {
    if (file.empty() || file == "-") return;
    std::error_code status;
    if (std::filesystem::is_directory(file, status))
      throw input_error(file.string(), "", "is a folder", "name a file of ops, one per line");
    file_.open(file, std::ios::binary);
    if (!file_) throw input_error(file.string(), "", "cannot be read", "name a file of ops, one per line");
    stream_ = &file_;
    name_ = file.string();
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;
  [[nodiscard]] std::istream& stream() { return *stream_; }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  std::ifstream file_;
  std::istream* stream_;
  std::string name_;
};

// The first few are told one by one, so that a wrong file does not fill the screen.
class Problems {
 public:
  Problems(std::ostream& err, const char* where) : err_(err), where_(where) {}
  void tell(const std::string& message) {
    constexpr std::int64_t told = 10;
    if (++bad_ <= told) err_ << "foretoken: " << message << "\n";
  }
  void count_line() { ++lines_; }
  /// @throws Error{invalid_input} if there was any
  void finish() const {
    if (bad_ > 0)
      throw Error(ErrorCode::invalid_input, fmt::format("{} of {} lines {}", grouped(static_cast<double>(bad_)),
                                                        grouped(static_cast<double>(lines_)), where_));
  }

 private:
  std::ostream& err_;
  const char* where_;
  std::int64_t lines_ = 0;
  std::int64_t bad_ = 0;
};

}  // namespace

void run_predict(const PredictOptions& options, std::istream& in, std::ostream& out, std::ostream& err) {
  predict::Predictor predictor = predictor_of(options);
  Input input(options.ops, in);
  predict::Answers answers(input.stream(), input.name(), predictor);
  Problems problems(err, "are not answered; each says why under \"error\"");
  while (const auto answer = answers.next()) {
    problems.count_line();
    if (!answer->estimate) problems.tell(answer->error);
    // Flushed, so that a program can ask one op after the other.
    out << answer->answered().dump() << "\n" << std::flush;
    if (!out) return;  // nobody reads on
  }
  problems.finish();
}

void run_score(const ScoreOptions& options, std::istream& in, std::ostream& out, std::ostream& err) {
  predict::Predictor predictor = predictor_of(options);
  Input input(options.ops, in);
  predict::Answers answers(input.stream(), input.name(), predictor);
  Problems problems(err, "are not scored");
  predict::Score score(options.by);
  while (const auto answer = answers.next()) {
    problems.count_line();
    try {
      if (!answer->estimate) throw Error(ErrorCode::invalid_input, answer->error);
      score.add(*answer, predictor);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::invalid_input) throw;
      problems.tell(error.what());
    }
  }
  const predict::ScoreTable table = score.table();
  if (table.all.rows == 0) {
    problems.finish();
    throw input_error(input.name(), "", "has no op", "write one per line, each with measured_us");
  }
  if (options.json) {
    nlohmann::ordered_json json = predict::score_json(table);
    json["machine"] = predictor.machine();
    json["calibration"] = predictor.calibration();
    json["foretoken"] = {{"version", std::string(version())}, {"commit", std::string(commit())}};
    out << json.dump(2) << "\n";
  } else {
    out << predict::score_text(table);
  }
  problems.finish();
}

}  // namespace foretoken::cli
