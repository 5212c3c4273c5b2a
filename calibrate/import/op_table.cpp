// Tables of measured ops in the columns that aiconfigurator's collectors write (`gemm_perf.txt`, …): a header, one op
// per line, milliseconds. Which op a table holds is told by its columns.
//
//   m, n, k                                   gemm
//   batch_size, isl, num_heads, head_dim      attention: prefill or decode by op_name (context_…, generation_…)
//   mla_dtype, batch_size, isl, num_heads     MLA, the same way; rows of tp_size 1
//   num_tokens, moe_tp_size, moe_ep_size      moe_module
//   message_size, num_gpus                    collectives by op_name. message_size counts elements, not bytes
//   dispatch_avg_t_us, combine_avg_t_us       DeepEP's low-latency kernels, 8 ranks per node
//   dispatch_sms, dispatch_transmit_us, …     DeepEP's normal kernels, the same
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "calibrate/import/log_formats.hpp"
#include "calibrate/import/log_text.hpp"
#include "plan/machine/limits.hpp"

namespace foretoken::calibrate {
namespace {

constexpr std::int64_t kDimensionMax = std::int64_t{1} << 31;
constexpr std::int64_t kWidthMax = std::int64_t{1} << 20;
constexpr std::int64_t kTokensMax = std::int64_t{1} << 24;
constexpr std::int64_t kGpusPerNode = 8;  // of aiconfigurator's DeepEP tables
constexpr double kTimeMax = 1e9;

std::string lower(std::string_view text) {
  std::string out;
  for (const char c : text) out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

class OpTableReader {
 public:
  OpTableReader(const LogPlace& log, ImportSettings& settings, Imported& imported)
      : log_(log), imported_(imported), date_(settings.text("date")) {}

  void read() {
    const LogText text(log_.text);
    for (const LogLine& line : text.lines()) {
      const std::string_view row = trimmed(line.text);
      if (row.empty() || row.starts_with('#')) continue;
      line_ = line.number;
      if (header_.empty()) {
        read_header(row);
        continue;
      }
      try {
        read_row(row);
      } catch (const Error& error) {
        imported_.damaged(error);
      }
    }
  }

 private:
  using Op = nlohmann::ordered_json;

  // ---- fields
  // --------------------------------------------------------------------------------------------------------

  [[nodiscard]] Error error(std::string_view found, std::string_view expected) const {
    return log_.error(line_, found, expected);
  }

  void read_header(std::string_view row) {
    header_line_ = line_;
    for (const std::string_view name : fields_of(row, ',')) header_.emplace_back(name);
    std::vector<std::string> sorted = header_;
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end())
      throw error(fmt::format("the column {} appears twice", quoted_for_message(*twice)), "give it once");
    if (!has("m") && !has("isl") && !has("num_tokens") && !has("message_size") && !has("dispatch_avg_t_us") &&
        !has("dispatch_sms"))
      throw error("no table of ops that is known begins so",
                  "gemm, attention, moe, nccl and DeepEP tables of aiconfigurator's columns are read");
  }

  [[nodiscard]] bool has(std::string_view column) const {
    return std::find(header_.begin(), header_.end(), column) != header_.end();
  }
  [[nodiscard]] std::string_view field(std::string_view column) const {
    const auto found = std::find(header_.begin(), header_.end(), column);
    if (found == header_.end())
      throw log_.error(header_line_, fmt::format("the header has no column \"{}\"", column), "add it");
    return fields_[static_cast<std::size_t>(found - header_.begin())];
  }
  [[nodiscard]] std::int64_t integer(std::string_view column, std::int64_t min, std::int64_t max) const {
    const std::string_view text = field(column);
    const auto value = whole_number_in(text);
    if (!value || *value < min || *value > max)
      throw error(fmt::format("{} is {}", column, quoted_for_message(text)),
                  fmt::format("write a whole number from {} to {}", min, max));
    return *value;
  }
  [[nodiscard]] double time(std::string_view column) const {
    const std::string_view text = field(column);
    const auto value = number_in(text);
    if (!value || !(*value > 0) || *value > kTimeMax)
      throw error(fmt::format("{} is {}", column, quoted_for_message(text)), "write a time > 0");
    return *value;
  }
  // Nothing, and the row counted, for one that is not modelled.
  std::optional<std::string> dtype(std::string_view column) {
    const std::string_view text = field(column);
    const auto known = dtype_named(lower(text));
    if (!known) {
      imported_.leave_out(fmt::format("of {} {}, which foretoken does not model", column, quoted_for_message(text)));
      return std::nullopt;
    }
    return std::string(name_of(*known));
  }

  // ---- rows
  // ----------------------------------------------------------------------------------------------------------

  void read_row(std::string_view row) {
    if (row.find('"') != std::string_view::npos)
      throw error("a quoted field", "write fields without quotes and commas");
    fields_ = fields_of(row, ',');
    if (fields_.size() != header_.size())
      throw error(fmt::format("{} fields", fields_.size()), fmt::format("the header has {}", header_.size()));
    if (has("dispatch_avg_t_us") || has("dispatch_sms")) return read_exchange();
    if (has("message_size")) return read_collective();
    if (has("mla_dtype")) return read_latent_attention();
    if (has("isl")) return read_attention();
    if (has("num_tokens")) return read_moe();
    read_gemm();
  }

  void add(Op op, double time_us) {
    op["measured_us"] = time_us;
    if (has("kernel_source") && !field("kernel_source").empty()) op["kernel"] = std::string(field("kernel_source"));
    op["tool"] = "aiconfigurator";
    if (has("version")) op["tool_version"] = std::string(field("version"));
    if (has("device")) op["device"] = std::string(field("device"));
    if (date_) op["date"] = *date_;
    op["source"] = log_.at(line_);
    imported_.add(std::move(op));
  }
  void add_kernel(Op op) {
    if (has("framework") && !field("framework").empty()) op["framework"] = lower(field("framework"));
    add(std::move(op), time("latency") * 1e3);
  }

  void read_gemm() {
    const auto type = dtype("gemm_dtype");
    if (!type) return;
    add_kernel(Op{{"op", "gemm"},
                  {"dtype", *type},
                  {"m", integer("m", 1, kDimensionMax)},
                  {"n", integer("n", 1, kDimensionMax)},
                  {"k", integer("k", 1, kDimensionMax)}});
  }

  // Whether each sequence has one new token, by the collector's name of the op.
  [[nodiscard]] bool is_decode() const {
    const std::string name = lower(field("op_name"));
    if (name.find("generation") != std::string::npos || name.find("decode") != std::string::npos) return true;
    if (name.find("context") != std::string::npos || name.find("prefill") != std::string::npos) return false;
    throw error(
        fmt::format("op_name is {}", quoted_for_message(name)),
        has("mla_dtype") ? "write mla_context or mla_generation" : "write context_attention or generation_attention");
  }
  // New tokens are `isl` of a prefill and one of a decode; the context is what was there, `step`, and `isl`.
  void sequences(Op& op, bool decode) const {
    const std::int64_t isl = integer("isl", 1, kDimensionMax / 2);
    const std::int64_t step = integer("step", 0, kDimensionMax / 2);
    op["batch"] = integer("batch_size", 1, kDimensionMax);
    op["context"] = isl + step;
    if (!decode && step > 0) op["query"] = isl;
  }

  void read_attention() {
    const bool decode = is_decode();
    if (has("window_size") && integer("window_size", 0, kDimensionMax) > 0)
      return imported_.leave_out("with a sliding window");
    const auto type = has("attn_dtype") ? dtype("attn_dtype") : std::optional<std::string>("bf16");
    const auto kv_type = type ? dtype("kv_cache_dtype") : std::nullopt;
    if (!kv_type) return;
    Op op{{"op", decode ? "attention_decode" : "attention_prefill"}, {"dtype", *type}, {"kv_dtype", *kv_type}};
    sequences(op, decode);
    const std::int64_t heads = integer("num_heads", 1, kWidthMax);
    const std::int64_t kv_heads = integer("num_key_value_heads", 0, kWidthMax);
    op["heads"] = heads;
    op["kv_heads"] = kv_heads == 0 ? heads : kv_heads;  // 0 stands for one of each
    op["head_dim"] = integer("head_dim", 1, kWidthMax);
    add_kernel(std::move(op));
  }

  void read_latent_attention() {
    const bool decode = is_decode();
    if (has("tp_size") && integer("tp_size", 1, kDimensionMax) != 1)
      return imported_.leave_out("of MLA with tp_size above 1, of which collectors count heads differently");
    const auto type = dtype("mla_dtype");
    const auto kv_type = type ? dtype("kv_cache_dtype") : std::nullopt;
    if (!kv_type) return;
    Op op{{"op", decode ? "mla_decode" : "mla_prefill"}, {"dtype", *type}, {"kv_dtype", *kv_type}};
    sequences(op, decode);
    op["heads"] = integer("num_heads", 1, kWidthMax);
    add_kernel(std::move(op));
  }

  void read_moe() {
    const auto type = dtype("moe_dtype");
    if (!type) return;
    Op op{{"op", "moe_module"}, {"dtype", *type}};
    op["tokens"] = integer("num_tokens", 1, kTokensMax);
    op["hidden"] = integer("hidden_size", 1, kWidthMax);
    op["expert_hidden"] = integer("inter_size", 1, kWidthMax);
    op["experts"] = integer("num_experts", 1, std::int64_t{1} << 16);
    op["top_k"] = integer("topk", 1, 4096);
    op["tp"] = integer("moe_tp_size", 1, plan::kGpusMax);
    op["ep"] = integer("moe_ep_size", 1, std::int64_t{1} << 16);
    if (has("distribution") && !field("distribution").empty()) op["distribution"] = std::string(field("distribution"));
    add_kernel(std::move(op));
  }

  void read_collective() {
    const bool of_framework = has("allreduce_dtype");
    const auto type = dtype(of_framework ? "allreduce_dtype" : "nccl_dtype");
    if (!type) return;
    const std::string_view name = of_framework ? std::string_view("all_reduce") : collective_named(field("op_name"));
    if (name.empty())
      return imported_.leave_out(
          fmt::format("{}, which foretoken does not predict", quoted_for_message(field("op_name"))));
    Op op{{"op", name}, {"dtype", *type}};
    op["ranks"] = integer("num_gpus", 1, plan::kGpusMax);
    // Collectors that know them write the number of nodes; without, one node is all that they use.
    op["nodes"] = has("num_nodes") ? integer("num_nodes", 1, plan::kNodesMax) : 1;
    op["bytes"] = integer("message_size", 1, std::int64_t{1} << 45) * bytes_per_element(*dtype_named(*type));
    if (of_framework) op["algorithm"] = "direct";  // a kernel of the framework's own, not NCCL's
    add(std::move(op), time("latency") * 1e3);
  }

  void read_exchange() {
    Op shape;
    const std::int64_t nodes = integer("node_num", 1, plan::kNodesMax);
    shape["ep"] = nodes * kGpusPerNode;
    shape["nodes"] = nodes;
    shape["tokens"] = integer("num_token", 1, kTokensMax);
    shape["hidden"] = integer("hidden_size", 1, kWidthMax);
    shape["top_k"] = integer("num_topk", 1, 4096);
    shape["experts"] = integer("num_experts", 1, kWidthMax);
    const bool low_latency = has("dispatch_avg_t_us");
    std::vector<std::pair<Op, double>> both;
    for (const std::string name : {"dispatch", "combine"}) {
      Op op{{"op", name}, {"dtype", name == "dispatch" ? "fp8" : "bf16"}};
      op.update(shape);
      op["algorithm"] = low_latency ? "low_latency" : "hierarchical";
      if (!low_latency) op["sms"] = integer(name + "_sms", 1, 1024);
      both.emplace_back(std::move(op), low_latency ? time(name + "_avg_t_us")
                                                   : time(name + "_transmit_us") + time(name + "_notify_us"));
    }
    for (auto& [op, time_us] : both) add(std::move(op), time_us);
  }

  const LogPlace& log_;
  Imported& imported_;
  std::optional<std::string> date_;
  std::size_t line_ = 0;
  std::size_t header_line_ = 0;
  std::vector<std::string> header_;
  std::vector<std::string_view> fields_;
};

}  // namespace

void import_op_table(const LogPlace& log, ImportSettings& settings, Imported& imported) {
  OpTableReader(log, settings, imported).read();
}

}  // namespace foretoken::calibrate
