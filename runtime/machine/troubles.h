#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

// Finds out what is wrong, or soon will be, with the machine on which a daemon runs: a disk that is
// nearly full, limits that bind. Each trouble is a sentence that says what to do. Called by
// actors/node/trouble_watch.h.

namespace troupe {

// What the machine reports; an absent value could not be read, or has no limit.
struct MachineReading {
  std::filesystem::path home;
  std::optional<std::uint64_t> disk_free_bytes;  // of the home's disk, for this user
  std::optional<std::uint64_t> memory_free_bytes;
  // The group whose limit leaves so little memory; "" if the machine has no more.
  std::string memory_group;
  std::optional<double> cpus_granted;  // by control groups
  int threads = 0;                     // that compute
  std::optional<std::uint64_t> descriptors, descriptors_max;
};

// Reads what the machine reports. This takes microseconds to a millisecond, and more if the home's
// disk does not answer. Any thread.
MachineReading read_machine(const std::filesystem::path& home, int threads);

enum class TroubleKind : std::uint8_t { kDisk, kMemory, kCpus, kDescriptors };
struct Trouble {
  TroubleKind kind;
  std::string text;  // a sentence
};
// Returns the troubles, at most one of each kind. Pure.
std::vector<Trouble> troubles_of(const MachineReading& reading);

}  // namespace troupe
