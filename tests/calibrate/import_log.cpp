#include "tests/calibrate/import_log.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "calibrate/import/log_formats.hpp"

namespace foretoken::calibrate {
namespace {

template <class Read>
std::string message_of(Read read) {
  try {
    read();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_input) << error.what();
    return error.what();
  }
  return "";
}

}  // namespace

std::string sample(const std::string& name) {
  std::ifstream in("tests/data/import/" + name, std::ios::binary);
  EXPECT_TRUE(in.is_open()) << name;
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string with(std::string text, std::string_view what, std::string_view instead) {
  const std::size_t found = text.find(what);
  if (found == std::string::npos) {
    ADD_FAILURE() << "no \"" << what << "\" to replace";
    return text;
  }
  return text.replace(found, what.size(), instead);
}

Imported imported(const std::string& text, const std::vector<std::string>& settings, bool keep_good) {
  Imported result(keep_good);
  ImportSettings said(settings);
  const LogPlace log{text, "log"};
  import_measurements(recognise_log(log), log, said, result);
  said.finish();
  return result;
}

std::string refusal(const std::string& text, const std::vector<std::string>& settings) {
  return message_of([&] { imported(text, settings); });
}

NodeShape node_shape(const std::string& text) {
  const LogPlace log{text, "log"};
  return read_node_shape(recognise_log(log), log);
}

std::string topology_refusal(const std::string& text) {
  return message_of([&] { node_shape(text); });
}

void expect_refused(const std::vector<SpoiltLog>& logs) {
  for (const SpoiltLog& log : logs) {
    const std::string text = log.what.empty() ? sample(log.sample) : with(sample(log.sample), log.what, log.instead);
    const bool topology = log.sample.starts_with("nccl-topology/") || log.sample.starts_with("nvidia-smi-topo/");
    EXPECT_EQ(topology ? topology_refusal(text) : refusal(text, log.settings), log.message)
        << log.sample << ": " << log.what << " -> " << log.instead;
  }
}

}  // namespace foretoken::calibrate
