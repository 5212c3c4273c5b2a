// What becomes of another tool's log: lines of measured ops, as `foretoken score` reads them, and measured links.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/import/link_measurements.hpp"
#include "core/dtype.hpp"
#include "core/error.hpp"

namespace foretoken::calibrate {

/// What the user adds that a log does not say: key=value, each asked for by the importer that needs it.
class ImportSettings {
 public:
  ImportSettings() = default;
  /// @param assignments  "tokens=128"
  /// @throws Error{invalid_input} for one without '=', or a key that is given twice
  explicit ImportSettings(std::span<const std::string> assignments);

  /// The text that was given; nothing if none was. Marks the key as wanted.
  std::optional<std::string> text(std::string_view key);
  /// @throws Error{invalid_input} if it is no whole number in [min, max]
  std::optional<std::int64_t> integer(std::string_view key, std::int64_t min, std::int64_t max);
  /// As integer().
  /// @throws Error{invalid_input} naming `log` and proposing `example` if none was given
  std::int64_t require_integer(std::string_view key, std::int64_t min, std::int64_t max, std::string_view log,
                               std::string_view example);
  std::string require_text(std::string_view key, std::string_view log, std::string_view example);

  /// @throws Error{invalid_input} if a key was required and not there, even if that was taken for damage of a row; and
  ///         on the first key that nobody wanted: a misspelt one, or what the log says itself
  void finish() const;

 private:
  Error missing(std::string_view key, std::string_view log, std::string_view example);

  std::map<std::string, std::string, std::less<>> values_;
  std::set<std::string, std::less<>> wanted_;
  std::optional<Error> missing_;
};

/// Measured ops and links from one log, and what became of the rest of it.
class Imported {
 public:
  /// @param keep_good  whether damage leaves out what is damaged; else it ends the import
  explicit Imported(bool keep_good) : keep_good_(keep_good) {}

  /// @param op  members as tools/cli/op.schema.json has them, `measured_us`, and then where it comes from
  void add(nlohmann::ordered_json op) { ops_.push_back(std::move(op)); }
  void add(LinkMeasurement link) { links_.push_back(std::move(link)); }
  /// @throws the Error itself unless good rows are kept
  void damaged(const Error& error);
  /// Rows that are sound, but that `foretoken predict` has no op or dtype for.
  void leave_out(const std::string& why, std::int64_t rows = 1) { left_out_[why] += rows; }
  /// To be said once however often it is found.
  void note(const std::string& text) { notes_.insert(text); }

  [[nodiscard]] const std::vector<nlohmann::ordered_json>& ops() const { return ops_; }
  [[nodiscard]] const std::vector<LinkMeasurement>& links() const { return links_; }
  [[nodiscard]] const std::vector<std::string>& damage() const { return damage_; }
  [[nodiscard]] const std::map<std::string, std::int64_t>& left_out() const { return left_out_; }
  [[nodiscard]] const std::set<std::string>& notes() const { return notes_; }

 private:
  bool keep_good_;
  std::vector<nlohmann::ordered_json> ops_;
  std::vector<LinkMeasurement> links_;
  std::vector<std::string> damage_;
  std::map<std::string, std::int64_t> left_out_;
  std::set<std::string> notes_;
};

/// Where a log is, for errors and for the members `source`.
struct LogPlace {
  std::string_view text;
  std::string name;  // as the user named the file

  [[nodiscard]] std::string at(std::size_t line) const;
  /// "name:line: found; expected"
  [[nodiscard]] Error error(std::size_t line, std::string_view found, std::string_view expected) const;
};

/// The dtype of a name that NCCL's, PyTorch's or TensorRT-LLM's tools write; nothing for those that are not modelled.
std::optional<DType> dtype_named(std::string_view name);

/// The collective of a name such as "all_reduce_perf", "alltoall" or "sendrecv", as `foretoken predict` calls it; ""
/// if it predicts no such.
std::string_view collective_named(std::string_view name);

}  // namespace foretoken::calibrate
