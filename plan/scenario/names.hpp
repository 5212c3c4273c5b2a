// How the choices of a scenario are spelled in JSON.
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "plan/scenario/scenario.hpp"

namespace foretoken::plan {

template <class Enum, std::size_t N>
using EnumNames = std::array<std::pair<Enum, std::string_view>, N>;

// The types that weights and activations may have: all of kDTypeNames but the integers.
inline constexpr EnumNames<DType, 4> kFloatTypeNames{
    {{DType::fp32, "fp32"}, {DType::fp16, "fp16"}, {DType::bf16, "bf16"}, {DType::fp8, "fp8"}}};
// How routed experts may be stored.
inline constexpr EnumNames<WeightFormat, 7> kExpertFormatNames{{{{DType::fp32, Packing::none}, "fp32"},
                                                                {{DType::fp16, Packing::none}, "fp16"},
                                                                {{DType::bf16, Packing::none}, "bf16"},
                                                                {{DType::fp8, Packing::none}, "fp8"},
                                                                {{DType::bf16, Packing::mxfp4}, "mxfp4"},
                                                                {{DType::bf16, Packing::nvfp4}, "nvfp4"},
                                                                {{DType::bf16, Packing::int4}, "int4"}}};
inline constexpr EnumNames<RoutingKind, 6> kRoutingKindNames{{{RoutingKind::uniform, "uniform"},
                                                              {RoutingKind::zipf, "zipf"},
                                                              {RoutingKind::hot_set, "hot_set"},
                                                              {RoutingKind::counts, "counts"},
                                                              {RoutingKind::model, "model"},
                                                              {RoutingKind::recorded, "recorded"}}};
inline constexpr EnumNames<PipelineSchedule, 2> kPipelineScheduleNames{
    {{PipelineSchedule::flush, "flush"}, {PipelineSchedule::flow, "flow"}}};
inline constexpr EnumNames<PipelineTransfer, 2> kPipelineTransferNames{
    {{PipelineTransfer::replicated, "replicated"}, {PipelineTransfer::scatter_gather, "scatter_gather"}}};
inline constexpr EnumNames<ExpertPlacement, 3> kExpertPlacementNames{{{ExpertPlacement::colocated, "colocated"},
                                                                      {ExpertPlacement::round_robin, "round_robin"},
                                                                      {ExpertPlacement::sharded, "sharded"}}};
inline constexpr EnumNames<ExpertExchange, 2> kExpertExchangeNames{
    {{ExpertExchange::all_reduce, "all_reduce"}, {ExpertExchange::dispatch, "dispatch"}}};
inline constexpr EnumNames<DispatchMode, 3> kDispatchModeNames{
    {{DispatchMode::planned, "planned"}, {DispatchMode::capacity, "capacity"}, {DispatchMode::exact, "exact"}}};
inline constexpr EnumNames<Overlap, 3> kOverlapNames{
    {{Overlap::none, "none"}, {Overlap::two_batch, "two_batch"}, {Overlap::micro_stages, "micro_stages"}}};
inline constexpr EnumNames<CollectiveChoice, 6> kCollectiveChoiceNames{{{CollectiveChoice::automatic, "auto"},
                                                                        {CollectiveChoice::ring, "ring"},
                                                                        {CollectiveChoice::direct, "direct"},
                                                                        {CollectiveChoice::nvls, "nvls"},
                                                                        {CollectiveChoice::tree, "tree"},
                                                                        {CollectiveChoice::nvls_tree, "nvls_tree"}}};
/// Trees add up, so only an all_reduce has them.
inline constexpr EnumNames<CollectiveChoice, 4> kGatherChoiceNames{{{CollectiveChoice::automatic, "auto"},
                                                                    {CollectiveChoice::ring, "ring"},
                                                                    {CollectiveChoice::direct, "direct"},
                                                                    {CollectiveChoice::nvls, "nvls"}}};
inline constexpr EnumNames<LaunchMode, 2> kLaunchModeNames{
    {{LaunchMode::graph, "graph"}, {LaunchMode::eager, "eager"}}};

template <class Enum, std::size_t N>
constexpr std::string_view name_of(Enum value, const EnumNames<Enum, N>& names) {
  for (const auto& [candidate, name] : names)
    if (candidate == value) return name;
  return "?";
}

}  // namespace foretoken::plan
