// The matrix of `nvidia-smi topo -m`: a row and a column for each GPU and NIC, separated by tabs, and how the two are
// joined.
//
//   NV#            so many NVLinks
//   PIX, PXB       under one PCIe switch, or several that hang together
//   PHB NODE SYS   through the CPU
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "calibrate/import/log_text.hpp"
#include "calibrate/import/node_shape.hpp"
#include "plan/machine/limits.hpp"

namespace foretoken::calibrate {
namespace {

constexpr std::size_t kDevicesMax = 256;
constexpr std::string_view kMend = "give what `nvidia-smi topo -m` prints, whole and with its tabs";

bool is_gpu(std::string_view name) { return name.starts_with("GPU") && whole_number_in(name.substr(3)).has_value(); }

class MatrixReader {
 public:
  explicit MatrixReader(const LogPlace& log) : log_(log) {}

  NodeShape read() {
    const LogText text(log_.text);
    for (const LogLine& line : text.lines()) {
      if (names_.empty()) {
        read_header(line);
      } else if (rows_.size() < names_.size()) {
        if (trimmed(line.text).empty())
          throw log_.error(line.number, fmt::format("the matrix ends after {} of {} rows", rows_.size(), names_.size()),
                           std::string(kMend));
        read_row(line);
      }
    }
    const std::size_t last = text.lines().empty() ? 1 : text.lines().back().number;
    if (names_.empty()) throw log_.error(1, "has no line of GPU0, GPU1, ...", std::string(kMend));
    if (rows_.size() < names_.size())
      throw log_.error(last, fmt::format("the matrix ends after {} of {} rows", rows_.size(), names_.size()),
                       std::string(kMend));
    return shape();
  }

 private:
  // Columns up to the affinities are devices.
  void read_header(const LogLine& line) {
    const auto cells = fields_of(line.text, '\t');
    const auto first = std::find_if(cells.begin(), cells.end(), [](std::string_view cell) { return !cell.empty(); });
    if (first == cells.end() || !is_gpu(*first)) return;
    for (auto cell = first; cell != cells.end() && !cell->empty() && cell->find(' ') == std::string_view::npos; ++cell)
      names_.emplace_back(*cell);
    header_ = line.number;
    if (names_.size() > kDevicesMax)
      throw log_.error(line.number, fmt::format("{} devices", names_.size()), fmt::format("{} at most", kDevicesMax));
    gpus_ = static_cast<std::size_t>(std::find_if_not(names_.begin(), names_.end(), is_gpu) - names_.begin());
    if (std::find_if(names_.begin() + static_cast<std::ptrdiff_t>(gpus_), names_.end(), is_gpu) != names_.end())
      throw log_.error(line.number, "a GPU after a NIC", std::string(kMend));
  }

  void read_row(const LogLine& line) {
    const auto cells = fields_of(line.text, '\t');
    const std::string& name = names_[rows_.size()];
    if (cells.front() != name)
      throw log_.error(line.number, fmt::format("a row of {}", quoted_for_message(cells.front())),
                       fmt::format("{} is next", name));
    if (cells.size() < names_.size() + 1)
      throw log_.error(line.number, fmt::format("{} cells", cells.size() - 1),
                       fmt::format("the header names {} devices", names_.size()));
    std::vector<std::string> row;
    for (std::size_t i = 0; i < names_.size(); ++i) row.emplace_back(cells[i + 1]);
    const std::size_t own = rows_.size();
    for (std::size_t i = 0; i < row.size(); ++i) check_cell(line, row[i], own == i);
    for (std::size_t i = 0; i < own; ++i)
      if (rows_[i][own] != row[i])
        throw log_.error(line.number,
                         fmt::format("{} to {} is {}, but {} the other way", name, names_[i], row[i], rows_[i][own]),
                         std::string(kMend));
    rows_.push_back(std::move(row));
    lines_.push_back(line.number);
  }

  void check_cell(const LogLine& line, std::string_view cell, bool diagonal) const {
    const bool known = diagonal ? cell == "X"
                                : cell == "PIX" || cell == "PXB" || cell == "PHB" || cell == "NODE" || cell == "SYS" ||
                                      nvlinks_in(cell);
    if (!known)
      throw log_.error(line.number, fmt::format("{} in the matrix", quoted_for_message(cell)),
                       diagonal ? "X is on its diagonal" : "NV#, PIX, PXB, PHB, NODE and SYS are known");
  }

  static std::optional<std::int64_t> nvlinks_in(std::string_view cell) {
    if (!cell.starts_with("NV")) return std::nullopt;
    const auto count = whole_number_in(cell.substr(2));
    return count && *count >= 1 && *count <= 1024 ? count : std::nullopt;
  }

  NodeShape shape() {
    NodeShape shape;
    shape.tool = "nvidia-smi topo -m";
    shape.nodes = 1;
    shape.gpus = static_cast<std::int64_t>(gpus_);
    if (shape.gpus > plan::kGpusPerNodeMax)
      throw log_.error(header_, fmt::format("{} GPUs in a node", shape.gpus),
                       fmt::format("{} at most", plan::kGpusPerNodeMax));
    count_nvlinks(shape);
    group_by_switch(shape);
    return shape;
  }

  void count_nvlinks(NodeShape& shape) const {
    if (gpus_ < 2)
      throw log_.error(header_, "a single GPU, of which the matrix tells no NVLinks", "write the topology by hand");
    for (std::size_t a = 0; a < gpus_; ++a)
      for (std::size_t b = 0; b < a; ++b) {
        const auto count = nvlinks_in(rows_[a][b]);
        if (!count)
          throw log_.error(lines_[a], fmt::format("{} and {} are joined by {}", names_[a], names_[b], rows_[a][b]),
                           "topologies have NVLinks from every GPU to an NVSwitch");
        if (a > 1 && *count != shape.nvlinks)
          throw log_.error(
              lines_[a],
              fmt::format("{} and {} are joined by NV{}, others by NV{}", names_[a], names_[b], *count, shape.nvlinks),
              "topologies have GPUs that are all joined alike");
        shape.nvlinks = *count;
      }
    shape.notes.insert(
        "the matrix does not tell NVSwitches from NVLinks between GPUs: those to a peer are taken for all, "
        "through an NVSwitch");
  }

  void group_by_switch(NodeShape& shape) const {
    std::vector<std::size_t> group(names_.size());
    std::iota(group.begin(), group.end(), std::size_t{0});
    for (std::size_t a = 0; a < names_.size(); ++a)
      for (std::size_t b = 0; b < a; ++b)
        if ((rows_[a][b] == "PIX" || rows_[a][b] == "PXB") && group[a] != group[b]) {
          const std::size_t from = group[a];
          for (std::size_t& one : group)
            if (one == from) one = group[b];
        }
    std::vector<PcieGroup> groups(names_.size());
    for (std::size_t i = 0; i < names_.size(); ++i) ++(i < gpus_ ? groups[group[i]].gpus : groups[group[i]].nics);
    std::int64_t near = 0;
    for (const PcieGroup& one : groups) near += one.gpus > 0 ? one.nics : 0;
    const auto all = static_cast<std::int64_t>(names_.size() - gpus_);
    shape.nics = near > 0 ? near : all;
    if (near > 0 && near < all)
      shape.notes.insert(
          fmt::format("{} of {} NICs are left out: they share no PCIe switch with a GPU", all - near, all));
    if (shape.nics == 0) {
      shape.nics = shape.gpus;
      shape.notes.insert("the matrix has no NICs: the topology has one for each GPU");
      return;
    }
    if (shape.gpus % shape.nics != 0)
      throw log_.error(header_, fmt::format("{} NICs for {} GPUs", shape.nics, shape.gpus),
                       "topologies have one for each GPU, or for 2, 4, ... of them");
    set_pcie_switches(shape, groups);
  }

  const LogPlace& log_;
  std::vector<std::string> names_;  // GPUs first
  std::size_t gpus_ = 0;
  std::size_t header_ = 0;  // its line
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> lines_;
};

}  // namespace

NodeShape read_nvidia_smi_topology(const LogPlace& log) { return MatrixReader(log).read(); }

}  // namespace foretoken::calibrate
