// The finished parts of a measurement, in a file: a measurement that was ended goes on where it was. What is in it when
// all are there are the measurement's raw samples.
//
// A first line says which measurement it is of, then there is a line of JSON per part. How the file is kept from harm:
// core/line_file.hpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/fit/host_samples.hpp"
#include "core/line_file.hpp"
#include "core/units.hpp"
#include "runtime/run.hpp"

namespace foretoken::calibrate {

/// What is measured in one go, and is lost or kept as a whole.
struct MeasuredPart {
  std::string name;                 ///< see schedule.hpp
  Seconds took{};                   ///< wall time
  double core_mhz = 0;              ///< see core_clock_mhz()
  std::optional<Seconds> per_byte;  ///< of a point of the cache curve
  std::vector<HostSample> samples;  ///< of any other part; none where it did not get the time
};

/// One line. Times of samples come back rounded, see samples_csv: who goes on uses what the line says, so that all that
/// follows is a function of the file.
std::string line_of(const MeasuredPart& part);
/// @param place  "journal.jsonl:17", for messages
/// @throws Error{invalid_input}
MeasuredPart part_of(std::string_view line, const std::string& place);

/// What has to be the same for a measurement to go on. Its budget need not be: it says how often, not what.
struct MeasurementIdentity {
  runtime::MachineIdentity machine;
  std::int64_t cores = 0;  ///< that the measurement may use
  std::string version;     ///< of foretoken
  std::int64_t ranks = 0;  ///< processes of a launch; 0: threads
  std::int64_t seed = 0;
  std::vector<std::string> scenarios;  ///< names and hashes of their plans; none: the built-in probes
};

class MeasurementJournal {
 public:
  /// Opens the file or begins it.
  /// @param date   of a measurement that begins, "2026-01-31"
  /// @param leads  whether this process writes; others only look at what is there
  /// @throws Error{invalid_input} as LineFile does, and naming the file if it is no such journal, that of another
  ///         measurement (with what differs), or is damaged before its last line
  MeasurementJournal(const std::filesystem::path& file, const MeasurementIdentity& identity, const std::string& date,
                     bool leads);

  /// Parts that were there when it was opened, by name.
  [[nodiscard]] const std::map<std::string, MeasuredPart>& known() const { return known_; }
  /// When the measurement began.
  [[nodiscard]] const std::string& date() const { return date_; }

  /// Nothing where another process leads.
  /// @throws Error{invalid_input} if it cannot be written: a full disk. What was written before is kept
  void add(const MeasuredPart& part);

 private:
  void read(const std::filesystem::path& file, const std::vector<std::string>& lines, const std::string& header);

  std::optional<LineFile> file_;
  std::map<std::string, MeasuredPart> known_;
  std::string date_;
};

}  // namespace foretoken::calibrate
