#include "runtime/cuda/nccl_choices.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "runtime/nccl_calls.hpp"
#include "runtime/record_bytes.hpp"

namespace foretoken::runtime::cuda {
namespace {

// NCCL's numbers, src/include/plugin/nccl_tuner.h.
constexpr std::array<std::string_view, 7> kAlgorithms{"tree",      "ring", "collnet_direct", "collnet_chain", "nvls",
                                                      "nvls_tree", "pat"};
constexpr std::array<std::string_view, 3> kProtocols{"ll", "ll128", "simple"};

std::string lower(std::string_view text) {
  std::string result;
  for (const char c : text) result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

// A line, eaten from the front.
class Line {
 public:
  explicit Line(std::string_view text) : rest_(text) {}

  bool skip(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }
  std::optional<std::int64_t> number() {
    std::int64_t value = 0;
    const auto [end, status] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (status != std::errc() || value < 0) return std::nullopt;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return value;
  }
  std::string_view word() {
    const std::size_t size = std::min(rest_.find_first_of(" \t"), rest_.size());
    const std::string_view found = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return found;
  }

 private:
  std::string_view rest_;
};

// A name, or a number of NCCL's.
std::optional<std::string> name_of(std::string_view word, std::span<const std::string_view> names) {
  if (word.empty()) return std::nullopt;
  if (std::isdigit(static_cast<unsigned char>(word.front())) == 0) return lower(word);
  std::size_t number = 0;
  const auto [end, status] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (status != std::errc() || end != word.data() + word.size() || number >= names.size()) return std::nullopt;
  return std::string(names[number]);
}

// What stands before the bytes: the last word, with a colon; or none.
std::string collective_before(std::string_view head) {
  while (!head.empty() && head.back() == ' ') head.remove_suffix(1);
  if (!head.ends_with(':')) return "";
  head.remove_suffix(1);
  constexpr std::string_view symmetric = " [Symmetric]";
  if (head.ends_with(symmetric)) head.remove_suffix(symmetric.size());
  return std::string(head.substr(head.find_last_of(' ') == std::string_view::npos ? 0 : head.find_last_of(' ') + 1));
}

std::optional<NcclChoice> choice_of(std::string_view text) {
  constexpr std::string_view marker = " Bytes -> ";
  const std::size_t at = text.find(marker);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view before = text.substr(0, at);
  const std::size_t space = before.find_last_of(' ');
  const std::size_t digits = space == std::string_view::npos ? 0 : space + 1;
  NcclChoice choice;
  const auto bytes = Line(before.substr(digits)).number();
  if (!bytes) return std::nullopt;
  choice.bytes = *bytes;
  choice.collective = collective_before(before.substr(0, digits));
  Line line(text.substr(at + marker.size()));
  if (line.skip("Kernel ")) {
    choice.algorithm = "symmetric";
    choice.protocol = std::string(line.word());
    if (line.skip(" nchannels ")) choice.channels = line.number().value_or(0);
    return choice.protocol.empty() ? std::nullopt : std::optional(choice);
  }
  if (!line.skip("Algo ")) return std::nullopt;
  const auto algorithm = name_of(line.word(), kAlgorithms);
  if (!algorithm || !line.skip(" proto ")) return std::nullopt;
  const auto protocol = name_of(line.word(), kProtocols);
  if (!protocol) return std::nullopt;
  choice.algorithm = *algorithm;
  choice.protocol = *protocol;
  if (line.skip(" channel{Lo..Hi}={")) {
    const auto low = line.number();
    const auto high = line.skip("..") ? line.number() : std::nullopt;
    if (!low || !high || *high < *low) return std::nullopt;  // cut off in mid-line
    choice.channels = *high - *low + 1;
  }
  return choice;
}

std::string_view nccl_word(NcclFunction function) {
  switch (function) {
    case NcclFunction::all_reduce: return "AllReduce";
    case NcclFunction::all_gather: return "AllGather";
    case NcclFunction::reduce_scatter: return "ReduceScatter";
    default: return "";
  }
}

// A collective that NCCL makes of an op; nothing where it is taken apart into others.
struct PlannedCall {
  std::string_view word;
  std::int64_t bytes = 0;
};
std::optional<PlannedCall> planned_call(const NcclOperation& operation) {
  for (const NcclCall& call : operation.calls)
    if (!nccl_word(call.function).empty())
      return PlannedCall{nccl_word(call.function), call.count * bytes_per_element(call.dtype)};
  return std::nullopt;
}

}  // namespace

std::vector<NcclChoice> parse_nccl_choices(std::string_view log) {
  std::vector<NcclChoice> all;
  while (!log.empty()) {
    const std::size_t end = std::min(log.find('\n'), log.size());
    std::string_view line = log.substr(0, end);
    log.remove_prefix(std::min(end + 1, log.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    const auto choice = choice_of(line);
    if (!choice) continue;
    const auto same = std::find_if(all.begin(), all.end(), [&](const NcclChoice& other) {
      NcclChoice one = other;
      one.times = 1;
      return one == *choice;
    });
    if (same == all.end()) all.push_back(*choice);
    else ++same->times;
  }
  return all;
}

std::optional<CollectiveAlgorithm> algorithm_of(const NcclChoice& choice) {
  if (choice.algorithm == "nvlstree") return CollectiveAlgorithm::nvls_tree;
  for (const auto& [algorithm, name] : kCollectiveAlgorithmNames)
    if (algorithm != CollectiveAlgorithm::direct && choice.algorithm == name) return algorithm;
  return std::nullopt;
}

bool ChosenCollective::agrees() const {
  return std::all_of(chosen.begin(), chosen.end(),
                     [&](const NcclChoice& choice) { return algorithm_of(choice) == planned; });
}

std::vector<ChosenCollective> compare_choices(const plan::Plan& plan,
                                              std::span<const std::vector<NcclChoice>> of_rank) {
  using Key = std::tuple<plan::OpKind, std::int64_t, std::int64_t, CollectiveAlgorithm>;  // kind, ranks, bytes, planned
  std::map<Key, std::set<NcclChoice>> found;
  std::set<Key> ambiguous;
  const NcclLowering lowering(plan);
  for (std::size_t r = 0; r < of_rank.size(); ++r) {
    const RankId rank(static_cast<std::int32_t>(r));
    std::map<std::pair<std::string_view, std::int64_t>, std::set<Key>> own;  // of the communicators that it is first in
    for (const plan::Op& op : plan.program.role_of(rank).ops) {
      const auto* const detail = std::get_if<plan::CollectiveOpDetail>(&op.detail);
      if (detail == nullptr) continue;
      const NcclOperation operation = lowering.operation(rank, op);
      if (operation.family < 0) continue;
      const std::vector<RankId> members = lowering.families()[static_cast<std::size_t>(operation.family)].members(rank);
      const auto call = planned_call(operation);
      if (!call || members.front() != rank) continue;
      const Key key{op.kind, static_cast<std::int64_t>(members.size()), call->bytes,
                    plan.program.communications[detail->communication.index()].algorithm};
      found.try_emplace(key);
      own[{call->word, call->bytes}].insert(key);
    }
    for (const auto& [call, keys] : own) {
      std::vector<NcclChoice> its;
      for (const NcclChoice& choice : of_rank[r])
        if (choice.bytes == call.second && (choice.collective == call.first || choice.collective.empty()))
          its.push_back(choice);
      for (const Key& key : keys) {
        if (keys.size() > 1 && its.size() > 1) ambiguous.insert(key);
        found[key].insert(its.begin(), its.end());
      }
    }
  }
  std::vector<ChosenCollective> all;
  for (const auto& [key, choices] : found)
    all.push_back({std::get<0>(key),
                   std::get<1>(key),
                   std::get<2>(key),
                   std::get<3>(key),
                   {choices.begin(), choices.end()},
                   ambiguous.contains(key)});
  // Ranks count lines by themselves: what differs in that alone is one choice.
  for (ChosenCollective& one : all) {
    for (NcclChoice& choice : one.chosen) choice.times = 1;
    std::sort(one.chosen.begin(), one.chosen.end());
    one.chosen.erase(std::unique(one.chosen.begin(), one.chosen.end()), one.chosen.end());
  }
  return all;
}

std::vector<std::string> settings_of(std::span<const ChosenCollective> collectives) {
  std::map<plan::OpKind, std::set<std::optional<CollectiveAlgorithm>>> of_kind;
  for (const ChosenCollective& one : collectives)
    for (const NcclChoice& choice : one.chosen) of_kind[one.kind].insert(algorithm_of(choice));
  std::vector<std::string> settings;
  for (const auto& [kind, algorithms] : of_kind)
    if (algorithms.size() == 1 && *algorithms.begin())
      settings.push_back(
          fmt::format("deployment.collectives.{}={}", plan::name_of(kind), foretoken::name_of(**algorithms.begin())));
  return settings;
}

std::vector<char> to_bytes(std::span<const NcclChoice> choices) {
  ByteWriter writer;
  writer.number(static_cast<std::int64_t>(choices.size()));
  for (const NcclChoice& one : choices) {
    for (const std::string* text : {&one.collective, &one.algorithm, &one.protocol}) writer.text(*text);
    for (const std::int64_t number : {one.bytes, one.channels, one.times}) writer.number(number);
  }
  return writer.bytes();
}

std::vector<NcclChoice> choices_from_bytes(std::span<const char> bytes) {
  ByteReader reader(bytes);
  std::vector<NcclChoice> choices;
  for (std::int64_t left = reader.number(); left > 0; --left) {
    NcclChoice& one = choices.emplace_back();
    for (std::string* text : {&one.collective, &one.algorithm, &one.protocol}) *text = reader.text();
    for (std::int64_t* number : {&one.bytes, &one.channels, &one.times}) *number = reader.number();
  }
  return choices;
}

}  // namespace foretoken::runtime::cuda
