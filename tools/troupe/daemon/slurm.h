#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <troupe/tools/troupe/daemon/settings.h>

// `srun troupe start --slurm --token-file FILE`: the same command line in every task of a Slurm
// step. Task 0 is the head and writes the file, which must lie where all tasks can read it; the
// others wait for the file and join.

namespace troupe::tools {

struct SlurmTask {
  std::string id;  // "JOB.STEP": tells the file from that of another job
  int number = 0;  // 0 is the head
  std::string token_file;
};

// Reads SLURM_PROCID and related variables, and sets home, name, listen and head to the values that
// fit this task. Returns nothing without --slurm.
//   Errors: kInvalidArgument (not started by srun, no --token-file, --join or --head given too).
Result<std::optional<SlurmTask>> slurm_task(Settings& settings);

// Waits until the head of this step has written the file, and sets join.
//   Errors: kDeadlineExceeded (two minutes), kPermissionDenied (others could read the file).
Status await_token(const SlurmTask& task, Settings& settings);
// Writes "JOB.STEP JOIN CLIENT" atomically, readable only by its owner. The other tasks join with
// JOIN; with CLIENT, commands of the owner reach the cluster from any machine, as an operator.
// `home` is that of the head, which listens already.
//   Errors: kPermissionDenied (the file is a link), those of Cluster::connect() and new_token().
Status write_token(const SlurmTask& task, const std::filesystem::path& home,
                   const std::string& join_address);
// Removes the file if it still belongs to this step.
void remove_token(const SlurmTask& task);

}  // namespace troupe::tools
