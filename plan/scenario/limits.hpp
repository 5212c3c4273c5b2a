// The largest numbers a scenario may hold. They bound every loop and allocation that follows.
//
// Each is far above any machine or model that exists; products that could still be absurd (program size, executions,
// memory) are checked where they are formed.
#pragma once

#include <cstdint>

namespace foretoken::plan {

inline constexpr std::int64_t kLayersMax = 1'024;
inline constexpr std::int64_t kHiddenMax = 1 << 18;
inline constexpr std::int64_t kHeadsMax = 4'096;
inline constexpr std::int64_t kHeadDimMax = 8'192;
inline constexpr std::int64_t kExpertsMax = 4'096;
inline constexpr std::int64_t kExpertHiddenMax = 1 << 20;
inline constexpr std::int64_t kSharedExpertsMax = 64;
inline constexpr std::int64_t kVocabularyMax = 1 << 24;
inline constexpr double kZipfExponentMax = 8;
inline constexpr std::int64_t kSequencesMax = 1 << 24;
inline constexpr std::int64_t kContextMax = 1 << 24;
inline constexpr std::int64_t kRanksMax = 131'072;
inline constexpr std::int64_t kMicroBatchesMax = 1'024;
inline constexpr std::int64_t kChunksMax = 1'024;
inline constexpr std::int64_t kRoutedStepsMax = 1'024;
inline constexpr std::int64_t kStepsMax = 100'000;
inline constexpr std::int64_t kFaultsMax = 4'096;
inline constexpr std::int64_t kProgramOpsMax = 1'000'000;  // ops of all roles together

}  // namespace foretoken::plan
