#include "tools/collective/query.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <fstream>

#include "core/error.hpp"

namespace foretoken::collective {
namespace {

constexpr std::int64_t kSizeMax = std::int64_t{1} << 50;
constexpr std::size_t kSizesMax = 1'000;
// DeepEP's low-latency kernels are made for decoding: its own tests and its users give them up to 128 tokens per rank.
constexpr std::int64_t kLowLatencyTokensMax = 128;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 1;
  }
}

std::int64_t parse_size(const std::string& option, const std::string& text) {
  const auto fail = [&](const std::string& found) {
    throw input_error(option, "", found, "write for example 8:8G:2, 1M or 4K,64K; K, M and G are 2^10, 2^20 and 2^30");
  };
  std::int64_t value = 0;
  const auto [rest, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
  const std::int64_t factor = unit.empty()                 ? 1
                              : unit == "K" || unit == "k" ? std::int64_t{1} << 10
                              : unit == "M" || unit == "m" ? std::int64_t{1} << 20
                              : unit == "G" || unit == "g" ? std::int64_t{1} << 30
                                                           : 0;
  if (status != std::errc() || factor == 0) fail(fmt::format("\"{}\" is no size", text));
  if (value < 1 || value > kSizeMax / factor) fail(fmt::format("\"{}\" is outside 1 to 2^50", text));
  return value * factor;
}

template <class Names>
std::string names_in(const Names& names) {
  std::vector<std::string_view> all{"auto"};
  for (const auto& entry : names) all.push_back(entry.second);
  return fmt::format("{}", fmt::join(all, ", "));
}

template <class Enum, std::size_t N>
Enum algorithm_named(const Query& query, const std::array<std::pair<Enum, std::string_view>, N>& names) {
  for (const auto& [algorithm, name] : names)
    if (name == query.algorithm) return algorithm;
  throw input_error("--algorithm " + query.algorithm, "", fmt::format("{} has no such algorithm", name_of(query.op)),
                    "write " + names_in(names));
}

}  // namespace

std::vector<std::int64_t> parse_sizes(const std::string& option, const std::string& text) {
  std::vector<std::int64_t> sizes;
  const auto add = [&](std::int64_t size) {
    if (sizes.size() == kSizesMax)
      throw input_error(option, "", fmt::format("\"{:.40}\" are more than {} sizes", text, kSizesMax), "write fewer");
    sizes.push_back(size);
  };
  if (text.find(':') == std::string::npos) {
    for (const std::string& one : split(text, ',')) add(parse_size(option, one));
  } else {
    const std::vector<std::string> parts = split(text, ':');
    if (parts.size() > 3)
      throw input_error(option, "", fmt::format("\"{}\" has {} parts", text, parts.size()), "write begin:end:factor");
    const std::int64_t begin = parse_size(option, parts[0]);
    const std::int64_t end = parse_size(option, parts[1]);
    const std::int64_t factor = parts.size() == 3 ? parse_size(option, parts[2]) : 2;
    if (end < begin)
      throw input_error(option, "", fmt::format("\"{}\" ends before it begins", text), "write begin:end:factor");
    if (factor < 2)
      throw input_error(option, "", fmt::format("\"{}\" does not grow", text), "write a factor of 2 or more");
    add(begin);
    while (sizes.back() <= end / factor) add(sizes.back() * factor);
  }
  return sizes;
}

Bytes whole_size(const Query& query, Bytes bytes) {
  const bool equal_parts = query.op != Operation::all_reduce && query.op != Operation::send_recv;
  const std::int64_t unit = bytes_per_element(query.dtype) * (equal_parts ? query.ranks : 1);
  return Bytes(std::max<std::int64_t>(1, bytes.value() / unit) * unit);
}

std::vector<double> read_pattern(const std::filesystem::path& file, std::int32_t ranks) {
  constexpr const char* kAdvice = "name a file of ranks x ranks numbers, or write uniform or skewed";
  std::error_code failed;
  const auto kind = std::filesystem::status(file, failed);
  if (!failed && std::filesystem::exists(kind) && !std::filesystem::is_regular_file(kind))
    throw input_error(file.string(), "", "not a regular file", kAdvice);
  std::ifstream in(file);
  if (!in) throw input_error(file.string(), "", "cannot be read", kAdvice);
  std::vector<double> weights;
  double total = 0;
  std::int32_t rows = 0;
  std::int64_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    line = line.substr(0, line.find('#'));
    std::replace_if(
        line.begin(), line.end(), [](char c) { return c == ',' || c == '\t' || c == '\r'; }, ' ');
    std::int32_t columns = 0;
    for (const std::string& word : split(line, ' ')) {
      if (word.empty()) continue;
      double weight = 0;
      const auto [rest, status] = std::from_chars(word.data(), word.data() + word.size(), weight);
      if (status != std::errc() || rest != word.data() + word.size() || !(weight >= 0 && weight <= 1e15))
        throw input_error(fmt::format("{}:{}", file.string(), number), "", fmt::format("\"{}\"", word),
                          "write a number from 0 to 1e15");
      weights.push_back(weight);
      total += weight;
      ++columns;
    }
    if (columns == 0) continue;
    ++rows;
    if (columns != ranks || rows > ranks)
      throw input_error(fmt::format("{}:{}", file.string(), number), "",
                        columns != ranks ? fmt::format("{} numbers", columns) : fmt::format("a row {}", rows),
                        fmt::format("write {} lines of {} numbers, one line per sender", ranks, ranks));
  }
  if (rows != ranks)
    throw input_error(file.string(), "", fmt::format("{} lines of numbers", rows),
                      fmt::format("write {} lines of {} numbers, one line per sender", ranks, ranks));
  if (total <= 0) throw input_error(file.string(), "", "nobody sends anything", "write a number above 0");
  return weights;
}

sim::TrafficMatrix traffic_of(const Query& query, Bytes bytes) {
  const std::int64_t element = bytes_per_element(query.dtype);
  if (query.op == Operation::all_to_all || query.pattern == "uniform")
    return sim::uniform_traffic(query.ranks, bytes, element);
  if (query.pattern == "skewed") return sim::skewed_traffic(query.ranks, bytes, element);
  return sim::weighted_traffic(query.ranks, query.weights, bytes, element);
}

CollectiveOp collective_of(Operation op) {
  FORETOKEN_CHECK(is_collective(op), "no collective");
  return static_cast<CollectiveOp>(op);
}

CollectiveAlgorithm collective_algorithm(const Query& query, int nodes, Bytes bytes, bool nvls) {
  const CollectiveOp op = collective_of(query.op);
  if (query.algorithm == "auto") {
    if (op != CollectiveOp::all_reduce) return CollectiveAlgorithm::ring;
    return choose_all_reduce(query.ranks, nodes, bytes, nvls && query.dtype != DType::fp8);
  }
  const auto algorithm = algorithm_named(query, kCollectiveAlgorithmNames);
  const auto refuse = [&](const std::string& found) {
    throw input_error("--algorithm " + query.algorithm, "", found, "write another one, or auto");
  };
  if (!carries_out(algorithm, op)) refuse(fmt::format("carries out all_reduce, not {}", name_of(query.op)));
  const bool in_switch = algorithm == CollectiveAlgorithm::nvls || algorithm == CollectiveAlgorithm::nvls_tree;
  if (in_switch && !nvls) refuse("the NVSwitch of this topology cannot add up");
  if (algorithm == CollectiveAlgorithm::nvls && nodes > 1) refuse(fmt::format("the ranks span {} nodes", nodes));
  if (algorithm == CollectiveAlgorithm::nvls_tree && nodes == 1) refuse("the ranks are within one node");
  if (algorithm == CollectiveAlgorithm::nvls_tree && nodes == query.ranks)
    refuse("every node has one of the ranks alone, and its NVSwitch nothing to add up");
  return algorithm;
}

void require_host_has(const Query& query) {
  if (query.dtype != DType::fp32)
    throw input_error("--dtype " + std::string(foretoken::name_of(query.dtype)), "", "a host moves fp32 alone",
                      "write --dtype fp32, or name a cluster of GPUs");
  if (is_exchange(query.op))
    throw input_error(std::string(name_of(query.op)), "", "is not run by itself on a host",
                      "name a cluster of GPUs, or take a scenario with `foretoken run` or `simulate`");
  if (!is_collective(query.op)) return;
  const CollectiveAlgorithm algorithm = collective_algorithm(query, 1, Bytes(0), false);
  if (algorithm != CollectiveAlgorithm::ring && algorithm != CollectiveAlgorithm::direct)
    throw input_error("--algorithm " + query.algorithm, "", "a host has none", "write ring or direct");
}

AllToAllAlgorithm all_to_all_algorithm(const Query& query) {
  if (query.algorithm == "auto") return AllToAllAlgorithm::direct;
  return algorithm_named(query, kAllToAllAlgorithmNames);
}

ExchangeAlgorithm exchange_algorithm(const Query& query, std::int64_t tokens) {
  if (query.algorithm == "auto")
    return tokens <= kLowLatencyTokensMax ? ExchangeAlgorithm::low_latency : ExchangeAlgorithm::hierarchical;
  return algorithm_named(query, kExchangeAlgorithmNames);
}

}  // namespace foretoken::collective
