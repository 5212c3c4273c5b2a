// A live diagnosis as text, and as JSON.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "tools/cli/doctor_live_assessment.hpp"

namespace foretoken::cli {

/// Beside what it was measured.
struct LiveConditions {
  std::string communicator;  // "mpi", "nccl"
  std::string scenario;      // of the communications; "" if there is none
  std::string topology;      // "" if not known
  std::string calibration;   // likewise
};

/// A line per kind of check, with the worst of it and every outlier; then the findings.
std::string live_diagnosis_text(const LiveDiagnosis& diagnosis, const LiveConditions& conditions);

/// As tools/cli/live-diagnosis.schema.json describes.
nlohmann::ordered_json live_diagnosis_json(const LiveDiagnosis& diagnosis, const LiveConditions& conditions);

}  // namespace foretoken::cli
