#include "runtime/host/mpi_doorbell.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "runtime/host/mpi_check.hpp"

namespace foretoken::runtime::host {
namespace {

// An address in the network namespace, without a file.
std::pair<sockaddr_un, socklen_t> address_of(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), std::min(name.size(), sizeof address.sun_path - 1));
  return {address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())};
}

std::vector<int> epoll_descriptors() {
  std::vector<int> found;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", none)) {
    const auto target = std::filesystem::read_symlink(entry.path(), none);
    if (!none && target == "anon_inode:[eventpoll]") found.push_back(std::stoi(entry.path().filename().string()));
  }
  return found;
}

}  // namespace

MpiDoorbell::MpiDoorbell(MPI_Comm communicator) : job_(getpid()), connection_sets_(epoll_descriptors()) {
  int rank = 0;
  int ranks = 0;
  check_mpi(MPI_Comm_rank(communicator, &rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(communicator, &ranks), "MPI_Comm_size");
  check_mpi(MPI_Bcast(&job_, 1, MPI_INT64_T, 0, communicator), "MPI_Bcast");

  MPI_Comm node = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(communicator, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node), "MPI_Comm_split_type");
  int size = 0;
  check_mpi(MPI_Comm_size(node, &size), "MPI_Comm_size");
  std::vector<int> here(static_cast<std::size_t>(size));
  check_mpi(MPI_Allgather(&rank, 1, MPI_INT, here.data(), 1, MPI_INT, node), "MPI_Allgather");
  check_mpi(MPI_Comm_free(&node), "MPI_Comm_free");
  near_.assign(static_cast<std::size_t>(ranks), 0);
  for (const int one : here)
    if (one != rank) near_[static_cast<std::size_t>(one)] = 1;

  bell_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const auto [address, length] = address_of(name_of(rank));
  if (bell_ < 0 || bind(bell_, reinterpret_cast<const sockaddr*>(&address), length) == 0) return;
  close(bell_);
  bell_ = -1;
}

MpiDoorbell::~MpiDoorbell() {
  if (bell_ >= 0) close(bell_);
}

std::string MpiDoorbell::name_of(int rank) const { return fmt::format("foretoken-{}-{}", job_, rank); }

// A bell that cannot be rung is ringing already, or its rank is gone.
void MpiDoorbell::ring(int rank) const {
  if (bell_ < 0 || near_[static_cast<std::size_t>(rank)] == 0) return;
  const auto [address, length] = address_of(name_of(rank));
  const char ding = 0;
  static_cast<void>(
      sendto(bell_, &ding, sizeof ding, MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&address), length));
}

void MpiDoorbell::sleep(std::chrono::steady_clock::duration longest) const {
  if (bell_ < 0 || connection_sets_.empty()) {
    std::this_thread::sleep_for(longest);
    return;
  }
  std::vector<pollfd> wakers{{bell_, POLLIN, 0}};
  for (const int set : connection_sets_) wakers.push_back({set, POLLIN, 0});
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(longest).count();
  static_cast<void>(poll(wakers.data(), wakers.size(), static_cast<int>(milliseconds)));
  if (wakers.front().revents == 0) return;
  for (char dings[64]; recv(bell_, dings, sizeof dings, MSG_DONTWAIT) > 0;) {
  }
}

}  // namespace foretoken::runtime::host
