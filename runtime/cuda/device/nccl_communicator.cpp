#include "runtime/cuda/device/nccl_communicator.hpp"

#include <fmt/format.h>
#include <nccl.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "runtime/cuda/device/cuda_check.hpp"
#include "runtime/cuda/device/loaded_library.hpp"

namespace foretoken::runtime::cuda {
namespace {

constexpr int kVersionMin = NCCL_VERSION(2, 28, 0);

std::string text_of(int version) {
  return fmt::format("{}.{}.{}", version / 10'000, version / 100 % 100, version % 100);
}

ncclDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::fp32: return ncclFloat32;
    case DType::fp16: return ncclFloat16;
    case DType::bf16: return ncclBfloat16;
    case DType::int32: return ncclInt32;
    case DType::fp8: break;
  }
  FORETOKEN_CHECK(false, "no messages of this element type");
}

}  // namespace

// ---- the library ---------------------------------------------------------------------------------------------------

struct NcclLibrary::Functions {
  Functions() : loaded({"libnccl.so.2", "libnccl.so"}, "NCCL 2.28 or newer (libnccl2)") {
    loaded.find(get_version, "ncclGetVersion");
    check(get_version(&version), "ncclGetVersion");
    if (version < kVersionMin)
      throw Error(ErrorCode::invalid_input,
                  fmt::format("NCCL {} is too old; install NCCL {} or newer", text_of(version), text_of(kVersionMin)));
    loaded.find(error_string, "ncclGetErrorString");
    loaded.find(last_error, "ncclGetLastError");
    loaded.find(get_unique_id, "ncclGetUniqueId");
    loaded.find(comm_init, "ncclCommInitRankConfig");
    loaded.find(comm_split, "ncclCommSplit");
    loaded.find(comm_destroy, "ncclCommDestroy");
    loaded.find(comm_abort, "ncclCommAbort");
    loaded.find(async_error, "ncclCommGetAsyncError");
    loaded.find(group_start, "ncclGroupStart");
    loaded.find(group_end, "ncclGroupEnd");
    loaded.find(all_reduce, "ncclAllReduce");
    loaded.find(all_gather, "ncclAllGather");
    loaded.find(reduce_scatter, "ncclReduceScatter");
    loaded.find(broadcast, "ncclBroadcast");
    loaded.find(reduce, "ncclReduce");
    loaded.find(all_to_all, "ncclAlltoAll");
    loaded.find(send, "ncclSend");
    loaded.find(receive, "ncclRecv");
    loaded.find_if_any(simulate_end, "ncclGroupSimulateEnd");
  }

  void check(ncclResult_t result, const std::string& call) const {
    if (result == ncclSuccess) return;
    const std::string what = error_string != nullptr ? error_string(result) : std::to_string(result);
    const char* const more = last_error != nullptr ? last_error(nullptr) : nullptr;
    throw Error(ErrorCode::rank_failed,
                fmt::format("{} failed: {}{}{}", call, what, more != nullptr && *more != '\0' ? "; " : "",
                            more != nullptr ? more : ""));
  }

  LoadedLibrary loaded;
  int version = 0;
  decltype(&ncclGetVersion) get_version = nullptr;
  decltype(&ncclGetErrorString) error_string = nullptr;
  decltype(&ncclGetLastError) last_error = nullptr;
  decltype(&ncclGetUniqueId) get_unique_id = nullptr;
  decltype(&ncclCommInitRankConfig) comm_init = nullptr;
  decltype(&ncclCommSplit) comm_split = nullptr;
  decltype(&ncclCommDestroy) comm_destroy = nullptr;
  decltype(&ncclCommAbort) comm_abort = nullptr;
  decltype(&ncclCommGetAsyncError) async_error = nullptr;
  decltype(&ncclGroupStart) group_start = nullptr;
  decltype(&ncclGroupEnd) group_end = nullptr;
  decltype(&ncclAllReduce) all_reduce = nullptr;
  decltype(&ncclAllGather) all_gather = nullptr;
  decltype(&ncclReduceScatter) reduce_scatter = nullptr;
  decltype(&ncclBroadcast) broadcast = nullptr;
  decltype(&ncclReduce) reduce = nullptr;
  decltype(&ncclAlltoAll) all_to_all = nullptr;
  decltype(&ncclSend) send = nullptr;
  decltype(&ncclRecv) receive = nullptr;
  decltype(&ncclGroupSimulateEnd) simulate_end = nullptr;  // not in every library
};

NcclLibrary::NcclLibrary() : functions_(std::make_unique<Functions>()) {}
NcclLibrary::~NcclLibrary() = default;

std::string NcclLibrary::version() const { return text_of(functions_->version); }

bool NcclLibrary::chooses() {
  const char* const value = std::getenv("FORETOKEN_NCCL_CHOOSES");  // NOLINT(concurrency-mt-unsafe): nothing changes it
  return value != nullptr && std::string_view(value) == "1";
}

void NcclLibrary::force(const std::string& algorithms) {
  if (algorithms.empty() || chooses()) return;
  const char* const set = std::getenv("NCCL_ALGO");  // NOLINT(concurrency-mt-unsafe): before there are threads
  if (set != nullptr && algorithms != set)
    throw Error(
        ErrorCode::invalid_input,
        fmt::format("NCCL_ALGO is \"{}\" in the environment, and the plan says \"{}\"; unset it, and choose with "
                    "--set deployment.collectives",
                    set, algorithms));
  setenv("NCCL_ALGO", algorithms.c_str(), 1);  // NOLINT(concurrency-mt-unsafe): as above
}

// ---- the communicators ---------------------------------------------------------------------------------------------

struct NcclCommunicator::State {
  const NcclLibrary::Functions* nccl = nullptr;
  ncclComm_t world = nullptr;
  std::vector<ncclComm_t> comms;   // [family]; null where this rank is no member
  std::vector<std::string> names;  // [family]
  bool aborted = false;
  std::vector<NcclEstimate> estimates;

  void estimate(const NcclCall& call, std::int32_t family, const std::byte* in, std::byte* out, ncclComm_t comm,
                cudaStream_t stream);
  void make(const NcclCall& call, const std::byte* in, std::byte* out, ncclComm_t comm, cudaStream_t stream) const;
};

void NcclCommunicator::State::make(const NcclCall& call, const std::byte* in, std::byte* out, ncclComm_t comm,
                                   cudaStream_t stream) const {
  const ncclDataType_t type = data_type(call.dtype);
  const std::int64_t size = bytes_per_element(call.dtype);
  const std::byte* const source = in + call.from * size;
  std::byte* const target = out + call.to * size;
  const auto count = static_cast<std::size_t>(call.count);
  const int peer = call.peer;
  const auto done = [&] {
    switch (call.function) {
      case NcclFunction::group_start: return nccl->group_start();
      case NcclFunction::group_end: return nccl->group_end();
      case NcclFunction::all_reduce: return nccl->all_reduce(source, target, count, type, ncclSum, comm, stream);
      case NcclFunction::all_gather: return nccl->all_gather(source, target, count, type, comm, stream);
      case NcclFunction::reduce_scatter:
        return nccl->reduce_scatter(source, target, count, type, ncclSum, comm, stream);
      case NcclFunction::broadcast: return nccl->broadcast(source, target, count, type, peer, comm, stream);
      case NcclFunction::reduce: return nccl->reduce(source, target, count, type, ncclSum, peer, comm, stream);
      case NcclFunction::all_to_all: return nccl->all_to_all(source, target, count, type, comm, stream);
      case NcclFunction::send: return nccl->send(source, count, type, peer, comm, stream);
      case NcclFunction::recv: return nccl->receive(target, count, type, peer, comm, stream);
      case NcclFunction::copy: break;
    }
    FORETOKEN_CHECK(false, "a copy is no call of NCCL's");
  };
  nccl->check(done(), std::string(name_of(call.function)));
}

// NCCL plans the group as it would for a launch, and says what its model makes of it.
void NcclCommunicator::State::estimate(const NcclCall& call, std::int32_t family, const std::byte* in, std::byte* out,
                                       ncclComm_t comm, cudaStream_t stream) {
  if (nccl->simulate_end == nullptr || !is_collective(call.function) || call.function == NcclFunction::all_to_all)
    return;
  NcclEstimate one{names[static_cast<std::size_t>(family)], std::string(name_of(call.function)),
                   call.count * bytes_per_element(call.dtype), Seconds(0)};
  if (std::any_of(estimates.begin(), estimates.end(), [&](const NcclEstimate& other) {
        return other.family == one.family && other.function == one.function && other.bytes == one.bytes;
      }))
    return;
  cudaStreamCaptureStatus capture{};
  check_cuda(cudaStreamIsCapturing(stream, &capture), "cudaStreamIsCapturing");
  if (capture != cudaStreamCaptureStatusNone) return;
  ncclSimInfo_t info = NCCL_SIM_INFO_INITIALIZER;
  nccl->check(nccl->group_start(), "ncclGroupStart");
  make(call, in, out, comm, stream);
  nccl->check(nccl->simulate_end(&info), "ncclGroupSimulateEnd");
  one.time = Seconds(static_cast<double>(info.estimatedTime) * 1e-6);
  if (one.time > Seconds(0)) estimates.push_back(std::move(one));
}

NcclCommunicator::NcclCommunicator(const NcclLibrary& library, const std::vector<NcclFamily>& families,
                                   Bootstrap& bootstrap)
    : state_(std::make_unique<State>()) {
  const NcclLibrary::Functions& nccl = *library.functions_;
  state_->nccl = &nccl;
  ncclUniqueId id{};
  Bootstrap::Bytes own;
  if (bootstrap.rank() == 0) {
    nccl.check(nccl.get_unique_id(&id), "ncclGetUniqueId");
    own.assign(id.internal, id.internal + NCCL_UNIQUE_ID_BYTES);
  }
  const Bootstrap::Bytes told = bootstrap.all_gather(own).front();
  FORETOKEN_CHECK(told.size() == NCCL_UNIQUE_ID_BYTES, "rank 0 has told no id of NCCL");
  std::memcpy(id.internal, told.data(), told.size());
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 1;
  nccl.check(nccl.comm_init(&state_->world, static_cast<int>(bootstrap.ranks()), id, static_cast<int>(bootstrap.rank()),
                            &config),
             "ncclCommInitRankConfig");
  // NCCL writes the topology that it sees for every communicator; the one of all ranks has all of it.
  unsetenv("NCCL_TOPO_DUMP_FILE");  // NOLINT(concurrency-mt-unsafe): NCCL reads it in this thread
  // Ranks of a communicator are in ascending order: the key is the rank itself.
  const auto rank = static_cast<std::size_t>(bootstrap.rank());
  for (const NcclFamily& family : families) {
    const std::int32_t color = family.color_of_rank[rank];
    ncclComm_t comm = nullptr;
    nccl.check(
        nccl.comm_split(state_->world, color < 0 ? NCCL_SPLIT_NOCOLOR : color, static_cast<int>(rank), &comm, &config),
        fmt::format("ncclCommSplit of {}", family.name));
    state_->comms.push_back(comm);
    state_->names.push_back(family.name);
  }
}

NcclCommunicator::~NcclCommunicator() {
  if (state_->aborted) return;
  for (ncclComm_t comm : state_->comms)
    if (comm != nullptr) state_->nccl->comm_destroy(comm);
  if (state_->world != nullptr) state_->nccl->comm_destroy(state_->world);
}

void queue_copy(const NcclCall& copy, const std::byte* in, std::byte* out, cudaStream_t stream) {
  const std::int64_t size = bytes_per_element(copy.dtype);
  check_cuda(cudaMemcpyAsync(out + copy.to * size, in + copy.from * size, static_cast<std::size_t>(copy.count * size),
                             cudaMemcpyDeviceToDevice, stream),
             "cudaMemcpyAsync");
}

void NcclCommunicator::queue(std::int32_t family, std::span<const NcclCall> calls, const std::byte* in, std::byte* out,
                             cudaStream_t stream) {
  ncclComm_t const comm = family < 0 ? nullptr : state_->comms[static_cast<std::size_t>(family)];
  if (calls.size() == 1 && family >= 0) state_->estimate(calls.front(), family, in, out, comm, stream);
  for (const NcclCall& call : calls)
    if (call.function == NcclFunction::copy) queue_copy(call, in, out, stream);
    else state_->make(call, in, out, comm, stream);
}

const std::vector<NcclEstimate>& NcclCommunicator::estimates() const { return state_->estimates; }

void NcclCommunicator::poll() {
  for (std::size_t c = 0; c < state_->comms.size(); ++c) {
    if (state_->comms[c] == nullptr) continue;
    ncclResult_t result = ncclSuccess;
    state_->nccl->check(state_->nccl->async_error(state_->comms[c], &result), "ncclCommGetAsyncError");
    if (result != ncclInProgress) state_->nccl->check(result, fmt::format("NCCL's {}", state_->names[c]));
  }
}

void NcclCommunicator::abort() {
  if (std::exchange(state_->aborted, true)) return;
  for (ncclComm_t comm : state_->comms)
    if (comm != nullptr) state_->nccl->comm_abort(comm);
  if (state_->world != nullptr) state_->nccl->comm_abort(state_->world);
}

}  // namespace foretoken::runtime::cuda
