#include "runtime/cuda/device/nccl_communicator.hpp"

#include <fmt/format.h>
#include <nccl.h>

#include <cstdlib>
#include <cstring>
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
    loaded.find(send, "ncclSend");
    loaded.find(receive, "ncclRecv");
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
  decltype(&ncclSend) send = nullptr;
  decltype(&ncclRecv) receive = nullptr;
};

NcclLibrary::NcclLibrary() : functions_(std::make_unique<Functions>()) {}
NcclLibrary::~NcclLibrary() = default;

std::string NcclLibrary::version() const { return text_of(functions_->version); }

void NcclLibrary::force(const std::string& algorithms) {
  if (algorithms.empty()) return;
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
  std::vector<ncclComm_t> comms;   // [channel]; null where this rank is no member
  std::vector<std::string> names;  // [channel]
  bool aborted = false;
};

NcclCommunicator::NcclCommunicator(const NcclLibrary& library, const Channels& channels, Bootstrap& bootstrap)
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
  for (const Channel& channel : channels.all()) {
    const int color = channel.joined() ? channel.members.front().value() : NCCL_SPLIT_NOCOLOR;
    ncclComm_t comm = nullptr;
    nccl.check(nccl.comm_split(state_->world, color, static_cast<int>(channel.own), &comm, &config),
               fmt::format("ncclCommSplit of {}", channel.name));
    state_->comms.push_back(comm);
    state_->names.push_back(channel.name);
  }
}

NcclCommunicator::~NcclCommunicator() {
  if (state_->aborted) return;
  for (ncclComm_t comm : state_->comms)
    if (comm != nullptr) state_->nccl->comm_destroy(comm);
  if (state_->world != nullptr) state_->nccl->comm_destroy(state_->world);
}

void NcclCommunicator::queue(const NcclGroup& group, const std::byte* in, std::byte* out, cudaStream_t stream) {
  const NcclLibrary::Functions& nccl = *state_->nccl;
  for (const LocalCopy& copy : group.copies)
    check_cuda(
        cudaMemcpyAsync(out + copy.out_offset, in + copy.in_offset, copy.bytes, cudaMemcpyDeviceToDevice, stream),
        "cudaMemcpyAsync");
  if (group.calls.empty()) return;
  ncclComm_t const comm = state_->comms[static_cast<std::size_t>(group.channel)];
  const ncclDataType_t type = data_type(group.dtype);
  nccl.check(nccl.group_start(), "ncclGroupStart");
  for (const NcclCall& call : group.calls) {
    const std::byte* const source = in + call.in_offset;
    std::byte* const target = out + call.out_offset;
    const auto count = static_cast<std::size_t>(call.count);
    const auto peer = static_cast<int>(call.peer);
    switch (call.verb) {
      case NcclVerb::all_reduce:
        nccl.check(nccl.all_reduce(source, target, count, type, ncclSum, comm, stream), "ncclAllReduce");
        break;
      case NcclVerb::all_gather:
        nccl.check(nccl.all_gather(source, target, count, type, comm, stream), "ncclAllGather");
        break;
      case NcclVerb::reduce_scatter:
        nccl.check(nccl.reduce_scatter(source, target, count, type, ncclSum, comm, stream), "ncclReduceScatter");
        break;
      case NcclVerb::broadcast:
        nccl.check(nccl.broadcast(source, target, count, type, peer, comm, stream), "ncclBroadcast");
        break;
      case NcclVerb::reduce:
        nccl.check(nccl.reduce(source, target, count, type, ncclSum, peer, comm, stream), "ncclReduce");
        break;
      case NcclVerb::send: nccl.check(nccl.send(source, count, type, peer, comm, stream), "ncclSend"); break;
      case NcclVerb::receive: nccl.check(nccl.receive(target, count, type, peer, comm, stream), "ncclRecv"); break;
    }
  }
  nccl.check(nccl.group_end(), "ncclGroupEnd");
}

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
