#include <atomic>
#include <cctype>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <troupe/tools/troupe/verbs/machine.h>

namespace troupe::tools {
namespace {

// Returns the rest of the first line of `path` that begins with `key` and a colon, without leading
// blanks.
std::string field(const char* path, const std::string& key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.rfind(key, 0) != 0) continue;
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

std::uint64_t kilobytes(const char* path, const std::string& key) {
  return std::strtoull(field(path, key).c_str(), nullptr, 10) * 1024;
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Returns what a shell command prints, at most 64 kB; nothing if it fails.
std::string output_of(const std::string& command) {
  FILE* const pipe = ::popen((command + " 2>/dev/null </dev/null").c_str(), "r");
  if (pipe == nullptr) return "";
  std::string text(1 << 16, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), pipe));
  return ::pclose(pipe) == 0 ? text : "";
}

}  // namespace

std::string cpu_model() {
  const std::string name = field("/proc/cpuinfo", "model name");
  return name.empty() ? "unknown" : name;
}

std::optional<std::uint64_t> soft_limit(int resource) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) return 0;
  if (limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  return limit.rlim_cur;
}

double measure_memory_bandwidth(int threads) {
  using Clock = std::chrono::steady_clock;
  const std::size_t words_each = (128u << 20) / sizeof(std::uint64_t) / threads;
  std::atomic<int> ready{0};
  std::atomic<std::uint64_t> bytes{0}, sink{0};
  std::vector<std::thread> team;
  const auto work = [&] {
    const std::vector<std::uint64_t> words(words_each, 1);
    ready.fetch_add(1);
    while (ready.load() < threads) std::this_thread::yield();
    const auto until = Clock::now() + std::chrono::milliseconds(300);
    std::uint64_t sum = 0, done = 0;
    while (Clock::now() < until) {
      std::uint64_t part[8] = {};
      for (std::size_t i = 0; i + 8 <= words.size(); i += 8) {
        for (std::size_t lane = 0; lane < 8; ++lane) part[lane] += words[i + lane];
      }
      for (const std::uint64_t value : part) sum += value;
      done += words.size() * sizeof(std::uint64_t);
    }
    sink += sum;
    bytes += done;
  };
  for (int i = 0; i < threads; ++i) team.emplace_back(work);
  for (std::thread& thread : team) thread.join();
  return static_cast<double>(bytes.load()) / 0.3;
}

std::vector<Gpu> gpus() {
  std::vector<Gpu> found;
  std::istringstream lines(output_of(
      "timeout 5 nvidia-smi --query-gpu=memory.total,name --format=csv,noheader,nounits"));
  // A line is such as "81559, NVIDIA H100 80GB HBM3".
  for (std::string line; std::getline(lines, line);) {
    const std::size_t comma = line.find(", ");
    const std::uint64_t mebibytes = std::strtoull(line.c_str(), nullptr, 10);
    if (comma == std::string::npos) continue;
    found.push_back({line.substr(comma + 2), std::nullopt});
    if (mebibytes > 0) found.back().memory_bytes = mebibytes << 20;
  }
  if (!found.empty()) return found;
  std::error_code none;
  for (const auto& gpu : std::filesystem::directory_iterator("/proc/driver/nvidia/gpus", none)) {
    const std::string name = field((gpu.path() / "information").c_str(), "Model");
    found.push_back({name.empty() ? "unknown" : name, std::nullopt});
  }
  return found;
}

// The line that is read is such as
// "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  ...".
std::string gpu_driver() {
  std::istringstream words(field("/proc/driver/nvidia/version", "NVRM version"));
  for (std::string word; words >> word;) {
    if (word.find('.') != std::string::npos && std::isdigit(static_cast<unsigned char>(word[0]))) {
      return word;
    }
  }
  return "";
}

HugePages huge_pages() {
  HugePages pages;
  std::istringstream words(first_line("/sys/kernel/mm/transparent_hugepage/enabled"));
  for (std::string word; words >> word;) {  // always [madvise] never
    if (word.front() == '[') pages.transparent = word.substr(1, word.size() - 2);
  }
  const auto count = [](const std::string& key) {
    return std::strtoull(field("/proc/meminfo", key).c_str(), nullptr, 10);
  };
  pages.page_bytes = kilobytes("/proc/meminfo", "Hugepagesize");
  pages.reserved = count("HugePages_Total");
  pages.reserved_free = count("HugePages_Free");
  return pages;
}

bool succeeds(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1 </dev/null").c_str()) == 0;
}

bool port_is_free(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool free = ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return free;
}

bool on_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  std::string folder;
  while (std::getline(folders, folder, ':')) {
    if (::access((folder + "/" + program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

}  // namespace troupe::tools
