// The job that runs a scenario's ranks on a cluster, as text for whoever starts jobs there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace foretoken::launch {

/// One process per rank, filled node by node.
struct Job {
  std::string name;  // of the scenario
  std::int64_t ranks = 1;
  std::int64_t nodes = 1;
  std::int64_t ranks_per_node = 1;  // the last node may have fewer
  bool gpus = true;                 // a GPU per rank; otherwise a core
  std::filesystem::path scenario;   // as the job finds it
  std::filesystem::path topology;   // instead of the scenario's; empty: its own
  std::vector<std::string> overrides;
  std::int64_t minutes = 15;  // that the job may take
  std::string image;          // k8s: container with foretoken, and sshd for mpirun
  std::string directory;      // k8s: where the container has the scenario's path; empty: the image's own
};

/// A batch script for sbatch. Its srun starts the ranks by PMIx; FORETOKEN, SRUN_OPTIONS and RUN_OPTIONS in the
/// environment name the program and add arguments.
std::string slurm_script(const Job& job);

/// A script that calls Open MPI's or MPICH's mpirun, with the host file it is given where there are several nodes.
std::string mpirun_script(const Job& job);

/// An MPIJob (kubeflow.org/v2beta1) as JSON, which is YAML too.
/// @throws Error{invalid_input} without an image
std::string k8s_job(const Job& job);

/// A text as one word of a POSIX shell.
std::string shell_word(const std::string& text);

/// A name as DNS labels have them: lower case, digits and '-', at most 50 characters, a letter first.
std::string label_of(const std::string& name);

}  // namespace foretoken::launch
