#include <algorithm>
#include <charconv>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <sys/resource.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <troupe/runtime/file.h>
#include <troupe/runtime/machine/cgroup.h>
#include <troupe/runtime/machine/process_memory.h>
#include <troupe/runtime/sha256.h>

namespace troupe {
namespace {

// The part that is not offered: this process's own needs beside layers, and a share for its
// neighbours.
constexpr std::uint64_t kReserveBytes = 64 << 20;
constexpr std::uint64_t kReserveShare = 16;

// Returns the number of a line "KEY:   NUMBER kB", in bytes; 0 if there is none.
std::uint64_t bytes_of(std::string_view text, std::string_view key) {
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') continue;
    line.remove_prefix(std::min(line.find_first_not_of(" \t", key.size() + 1), line.size()));
    std::uint64_t kilobytes = 0;
    std::from_chars(line.data(), line.data() + line.size(), kilobytes);
    return kilobytes * 1024;
  }
  return 0;
}

// Returns a text that identifies this machine since its start; "" if the kernel does not say.
std::string boot_id() {
  const auto text = read_file("/proc/sys/kernel/random/boot_id", kSystemFileBytesMax);
  return text ? text->substr(0, text->find('\n')) : "";
}

}  // namespace

MachineMemory machine_memory() {
  const auto text = read_file("/proc/meminfo", kSystemFileBytesMax);
  if (!text) return {};
  return {bytes_of(*text, "MemTotal"), bytes_of(*text, "MemAvailable")};
}

std::optional<std::uint64_t> address_space_left() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  const auto text = read_file("/proc/self/status", kSystemFileBytesMax);
  const std::uint64_t used = text ? bytes_of(*text, "VmSize") : 0;
  return limit.rlim_cur - std::min<std::uint64_t>(limit.rlim_cur, used);
}

MemoryOffer memory_offer(const std::filesystem::path& groups, const std::filesystem::path& root) {
  MachineMemory machine = machine_memory();
  if (machine.total_bytes == 0) {  // without /proc
    machine.total_bytes = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                          static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    machine.available_bytes = machine.total_bytes;
  }
  std::uint64_t left = machine.available_bytes;
  std::string pool = boot_id();
  const CgroupLimits limits = cgroup_limits(groups, root);
  if (limits.memory_left_bytes && *limits.memory_left_bytes < left) {
    left = *limits.memory_left_bytes;
    // The path of a group in a container is the same in all containers: their namespaces differ.
    std::error_code none;
    pool +=
        std::filesystem::read_symlink("/proc/self/ns/cgroup", none).string() + limits.memory_group;
  }
  // The model's file is mapped while its weights are packed beside it.
  if (const auto space = address_space_left(); space && *space / 2 < left) {
    left = *space / 2;
    pool += "process " + std::to_string(::getpid());
  }
  const std::uint64_t reserve = kReserveBytes + left / kReserveShare;
  return {left - std::min(left, reserve), sha256_hex(std::as_bytes(std::span(pool))).substr(0, 32)};
}

std::uint64_t offered_memory() { return memory_offer().bytes; }

std::uint64_t resident_bytes_max() {
  const auto text = read_file("/proc/self/status", kSystemFileBytesMax);
  return text ? bytes_of(*text, "VmHWM") : 0;
}

void give_back_free_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

}  // namespace troupe
