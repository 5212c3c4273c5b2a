#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "core/error.hpp"
#include "plan/memory.hpp"
#include "plan/scenario/hf_config.hpp"
#include "plan/scenario/model_size.hpp"
#include "plan/scenario/read_model.hpp"
#include "tools/cli/commands.hpp"
#include "tools/cli/load.hpp"
#include "tools/cli/write_file.hpp"

namespace foretoken::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

struct Described {
  plan::ModelSpec model;
  std::vector<std::string> left_out;  // by our description, of a Hugging Face config
  std::optional<Loaded> scenario;     // where the file is one: its deployment too
};

// A file of ours says what kind it is; a config.json of Hugging Face has no "kind".
Described describe(const ModelOptions& options) {
  std::optional<JsonDocument> ours;
  try {
    ours = JsonDocument::from_file(options.file);
  } catch (const Error&) {  // NaN and Infinity are for the reader of configs to judge
  }
  const bool has_kind = ours && ours->json().is_object() && ours->json().contains("kind");
  const bool scenario = has_kind && ours->json().at("kind") == "scenario";
  if (!options.overrides.empty() && !scenario)
    throw input_error("--set " + options.overrides.front(), "", options.file.string() + " is no scenario",
                      "leave it out, or name a scenario");
  if (scenario) {
    ScenarioOptions load_options;
    load_options.overrides = options.overrides;
    Loaded loaded = load(options.file, load_options);
    Described described{loaded.scenario.model, {}, {}};
    described.scenario.emplace(std::move(loaded));
    return described;
  }
  if (has_kind) return {plan::read_model_file(*ours), {}, {}};
  plan::HfModel read = plan::read_hf_config(options.file);
  return {std::move(read.model), std::move(read.left_out), {}};
}

std::string format_name(const plan::WeightFormat& format) {
  return std::string(format.packing == Packing::none ? name_of(format.dtype) : name_of(format.packing));
}

std::string attention_text(const plan::ModelSpec& model) {
  std::string text =
      model.latent ? fmt::format("latent attention, {} heads over a latent of {} + {}", model.heads,
                                 model.latent->kv_rank, model.latent->rope_dim)
                   : fmt::format("{} query heads and {} KV heads of {}", model.heads, model.kv_heads, model.head_dim);
  if (model.index) text += fmt::format(", of the {} tokens that an index chooses", model.index->top_k);
  return text;
}

std::string line(const char* what, std::int64_t count) {
  return count == 0 ? "" : fmt::format("    {:<20}{:>12.3f} e9\n", what, static_cast<double>(count) / 1e9);
}

std::string report(const Described& described) {
  const plan::ModelSpec& model = described.model;
  const plan::ModelSize size = plan::size_of(model);
  const std::int64_t expert_layers = model.expert_layers();
  std::string text = fmt::format(
      "{}\n"
      "  {} layers of {}: {} with {} experts, of which a token visits {}{}; {} dense\n"
      "  {}\n",
      model.name, model.layers, model.hidden, expert_layers, model.experts, model.top_k,
      model.shared_experts > 0 ? fmt::format(" and {} shared", model.shared_experts) : std::string(),
      model.layers - expert_layers, attention_text(model));
  if (size.windowed_layers > 0)
    text += fmt::format("  {} layers attend to {} {} tokens only\n", size.windowed_layers,
                        model.window->chunked ? "their block of" : "the latest", model.window->tokens);
  text += fmt::format("  weights {}, experts {}, activations {}, dispatch {}, KV cache {}\n\n",
                      name_of(model.weight_dtype), format_name(model.expert_format), name_of(model.activation_dtype),
                      name_of(model.dispatch_dtype), name_of(model.kv_dtype));
  text += fmt::format("  parameters            {:>12.3f} e9\n", static_cast<double>(size.parameters()) / 1e9);
  text += line("experts", size.experts) + line("shared experts", size.shared_experts) +
          line("dense layers' MLP", size.dense_mlp) + line("attention", size.attention) + line("index", size.index) +
          line("router", size.router) + line("norms", size.norms) + line("embedding", size.embedding) +
          line("LM head", size.lm_head);
  text += fmt::format(
      "  active per token      {:>12.3f} e9\n"
      "  weights               {:>12.3f} GB\n"
      "  KV cache per token    {:>12} elements{}, {:.1f} KB\n",
      static_cast<double>(size.active_parameters()) / 1e9, size.weight_bytes / 1e9, size.kv_elements,
      size.index_elements > 0 ? fmt::format(" and {} of the index", size.index_elements) : std::string(),
      size.kv_bytes / 1e3);
  for (const std::string& what : described.left_out) text += "  left out: " + what + "\n";
  return text;
}

OrderedJson size_json(const Described& described) {
  const plan::ModelSize size = plan::size_of(described.model);
  OrderedJson json{{"schema_version", 1},
                   {"kind", "model_size"},
                   {"model", plan::to_json(described.model)},
                   {"parameters",
                    {{"total", size.parameters()},
                     {"active", size.active_parameters()},
                     {"experts", size.experts},
                     {"shared_experts", size.shared_experts},
                     {"dense_mlp", size.dense_mlp},
                     {"attention", size.attention},
                     {"index", size.index},
                     {"router", size.router},
                     {"norms", size.norms},
                     {"embedding", size.embedding},
                     {"lm_head", size.lm_head}}},
                   {"weight_bytes", size.weight_bytes},
                   {"kv_cache_per_token",
                    {{"elements", size.kv_elements},
                     {"index_elements", size.index_elements},
                     {"bytes", size.kv_bytes},
                     {"windowed_layers", size.windowed_layers}}},
                   {"left_out", described.left_out}};
  if (!described.scenario) return json;
  json["roles"] = OrderedJson::array();
  const Loaded& loaded = *described.scenario;
  for (const plan::Role& role : loaded.plan.program.roles) {
    const plan::MemoryUse use = plan::memory_of(role, loaded.scenario, loaded.plan.placement);
    json["roles"].push_back({{"name", role.name},
                             {"ranks", role.ranks.size()},
                             {"memory_bytes",
                              {{"weights", use.weights},
                               {"kv_cache", use.kv_cache},
                               {"activations", use.activations},
                               {"total", use.total()}}}});
  }
  json["device_memory_bytes"] = loaded.machine.device().memory.value();
  return json;
}

std::string per_gpu(const Loaded& loaded) {
  std::vector<plan::MemoryUse> use;
  for (const plan::Role& role : loaded.plan.program.roles)
    use.push_back(plan::memory_of(role, loaded.scenario, loaded.plan.placement));
  return "\n  on each rank of " + loaded.scenario.name + ":\n" +
         plan::memory_table(loaded.plan.program, use, loaded.machine.device().memory);
}

}  // namespace

void run_model(const ModelOptions& options, std::ostream& out) {
  const Described described = describe(options);
  if (options.json) {
    out << size_json(described).dump(2) << "\n";
    return;
  }
  out << report(described);
  if (described.scenario) out << per_gpu(*described.scenario);
}

}  // namespace foretoken::cli
