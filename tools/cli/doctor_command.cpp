// foretoken doctor: what looks wrong in a calibration.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <ostream>

#include "calibrate/doctor/doctor.hpp"
#include "core/error.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/shipped_data.hpp"

namespace foretoken::cli {
namespace {

using Json = nlohmann::ordered_json;

DeviceSpec device_of(const Calibration& calibration, const std::filesystem::path& file, const char* option) {
  if (!file.empty()) return read_device_spec(file);
  if (calibration.host) return {};  // which the doctor refuses
  try {
    return read_device_spec(shipped_file("topologies/devices/" + calibration.device.name + ".json"));
  } catch (const Error&) {
    throw input_error(calibration.file, "/device/name",
                      fmt::format("no datasheet of \"{}\" is shipped", calibration.device.name),
                      fmt::format("give it with {}", option));
  }
}

Json number_or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json diagnosis_json(const calibrate::Diagnosis& diagnosis, const Calibration& calibration, const std::string& against) {
  Json json{{"schema_version", 1},
            {"kind", "diagnosis"},
            {"calibration", calibration.name},
            {"device", calibration.device.name},
            {"against", against},
            {"checks", Json::array()},
            {"findings", Json::array()}};
  for (const calibrate::Check& check : diagnosis.checks)
    json["checks"].push_back({{"name", check.name},
                              {"reached", check.reached},
                              {"unit", check.unit},
                              {"datasheet", number_or_null(check.limit)},
                              {"beside_sibling", number_or_null(check.beside_sibling())}});
  for (const calibrate::Finding& finding : diagnosis.findings)
    json["findings"].push_back({{"impossible", finding.impossible},
                                {"what", finding.what},
                                {"evidence", finding.evidence},
                                {"likely", finding.likely}});
  return json;
}

std::string percent_or_dash(const std::optional<double>& share) {
  return share ? fmt::format("{:.0f} %", 100 * *share) : std::string("-");
}

std::string diagnosis_text(const calibrate::Diagnosis& diagnosis, const Calibration& calibration,
                           const std::string& against) {
  std::string text =
      fmt::format("{}: {}, against its datasheet and {}\n\n", calibration.name, calibration.device.name, against);
  text += fmt::format("{:<28} {:>10} {:<8} {:>10} {:>15}\n", "", "reached", "", "datasheet", "beside sibling");
  for (const calibrate::Check& check : diagnosis.checks)
    text += fmt::format("{:<28} {:>10.4g} {:<8} {:>10} {:>15}\n", check.name, check.reached, check.unit,
                        percent_or_dash(check.share()), percent_or_dash(check.beside_sibling()));
  text += "\n";
  if (calibration.derived)
    text += fmt::format("Derived from {}: nobody measured this, so it looks as that one does.\n",
                        calibration.derived->from);
  if (diagnosis.findings.empty()) return text + "Nothing looks wrong.\n";
  for (const calibrate::Finding& finding : diagnosis.findings)
    text +=
        fmt::format("{}: {}\n    evidence: {}\n    likely:   {}\n", finding.impossible ? "impossible" : "suspicious",
                    finding.what, finding.evidence, finding.likely);
  return text;
}

}  // namespace

void run_doctor(const DoctorOptions& options, std::ostream& out) {
  const Calibration calibration = read_calibration(options.calibration);
  const DeviceSpec device = device_of(calibration, options.device, "--device");
  const Calibration sibling = read_calibration(
      options.against.empty() ? shipped_file("topologies/calibrations/h100-sxm.json") : options.against);
  const DeviceSpec sibling_device = device_of(sibling, options.against_device, "--against-device");
  const calibrate::Diagnosis diagnosis =
      calibrate::diagnose({calibration, device}, calibrate::Patient{sibling, sibling_device});
  if (options.json) out << diagnosis_json(diagnosis, calibration, sibling.name).dump(2) << "\n";
  else out << diagnosis_text(diagnosis, calibration, sibling.name);
  if (!diagnosis.findings.empty())
    throw Error(ErrorCode::unhealthy,
                fmt::format("{}: {} finding{}", options.calibration.string(), diagnosis.findings.size(),
                            diagnosis.findings.size() == 1 ? "" : "s"));
}

}  // namespace foretoken::cli
