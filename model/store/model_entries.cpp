#include <algorithm>
#include <span>
#include <system_error>

#include <troupe/model/store/model_entries.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/sha256.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr JsonLimits kEntryLimits{.bytes_max = std::size_t{1} << 20, .depth_max = 4};
constexpr std::size_t kNameBytesMax = 128;
constexpr const char* kConfigName = "config.json";

std::vector<ModelFile> files_from(const json& list) {
  std::vector<ModelFile> files;
  for (const json& one : list) {
    files.push_back({one.at("name").get<std::string>(),
                     {one.at("sha256").get<std::string>(), one.at("bytes").get<std::uint64_t>()}});
  }
  return files;
}

bool is_well_formed(const ModelEntry& entry) {
  return is_sha256_hex(entry.sha256) &&
         std::all_of(entry.files.begin(), entry.files.end(), [](const ModelFile& file) {
           return is_model_name(file.name) && is_sha256_hex(file.blob.sha256);
         });
}

}  // namespace

bool is_model_name(const std::string& name) {
  return !name.empty() && name.size() <= kNameBytesMax && name[0] != '.' && name[0] != '-' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

Status check_model_name(const std::string& name) {
  if (is_model_name(name)) return Status::ok();
  return Status(Code::kInvalidArgument, "a model cannot be named " + in_quotes(name) +
                                            "; letters, digits, '.', '_' and '-' can be used");
}

std::string listing_sha256(const std::vector<ModelFile>& files) {
  std::vector<const ModelFile*> sorted;
  for (const ModelFile& file : files) sorted.push_back(&file);
  std::sort(sorted.begin(), sorted.end(),
            [](const ModelFile* a, const ModelFile* b) { return a->name < b->name; });
  std::string text;
  for (const ModelFile* file : sorted) text += file->blob.sha256 + "  " + file->name + "\n";
  return sha256_hex(std::as_bytes(std::span(text.data(), text.size())));
}

std::vector<BlobRef> blobs_of(const ModelEntry& entry) {
  if (entry.files.empty()) return {{entry.sha256, entry.bytes}};
  std::vector<BlobRef> blobs;
  for (const ModelFile& file : entry.files) blobs.push_back(file.blob);
  return blobs;
}

fs::path path_of_files(const fs::path& root, const std::vector<ModelFile>& files) {
  const fs::path folder = root / "folders" / listing_sha256(files);
  const bool is_folder = std::any_of(
      files.begin(), files.end(), [](const ModelFile& file) { return file.name == kConfigName; });
  return is_folder ? folder : folder / files.front().name;
}

std::string listing_of(const fs::path& root, const fs::path& path) {
  std::error_code ignored;
  for (const fs::path& folder : {path, path.parent_path()}) {
    if (is_sha256_hex(folder.filename()) &&
        fs::equivalent(folder.parent_path(), root / "folders", ignored)) {
      return folder.filename();
    }
  }
  return "";
}

Status link_files(const fs::path& root, const std::vector<ModelFile>& files) {
  const fs::path folder = root / "folders" / listing_sha256(files);
  std::error_code error;
  fs::create_directories(folder, error);
  for (const ModelFile& file : files) {
    if (error) break;
    const fs::path link = folder / file.name, target = fs::path("../../blobs") / file.blob.sha256;
    std::error_code absent;
    if (fs::read_symlink(link, absent) == target) continue;
    fs::remove(link, absent);
    fs::create_symlink(target, link, error);
  }
  if (!error) return Status::ok();
  return Status(error == std::errc::no_space_on_device ? Code::kResourceExhausted : Code::kInternal,
                "cannot make the folder " + folder.string() + ": " + error.message());
}

std::optional<ModelEntry> read_entry(const fs::path& root, const std::string& name) {
  if (!is_model_name(name)) return std::nullopt;
  const Result<std::string> content =
      read_file(root / "models" / (name + ".json"), kEntryLimits.bytes_max);
  if (!content.is_ok()) return std::nullopt;
  const Result<json> value = parse_json(*content, "the entry of model " + name, kEntryLimits);
  if (!value.is_ok()) return std::nullopt;
  ModelEntry entry;
  try {
    entry.name = name;
    entry.sha256 = value->at("sha256").get<std::string>();
    if (value->contains("files")) entry.files = files_from(value->at("files"));
  } catch (const json::exception&) {
    return std::nullopt;
  }
  if (!is_well_formed(entry)) return std::nullopt;
  entry.path =
      entry.files.empty() ? root / "blobs" / entry.sha256 : path_of_files(root, entry.files);
  std::error_code error;
  for (const BlobRef& blob : blobs_of(entry)) {
    entry.bytes += fs::file_size(root / "blobs" / blob.sha256, error);
    if (error) return std::nullopt;
  }
  return entry;
}

Status write_entry(const fs::path& root, const ModelEntry& entry) {
  json value = {{"sha256", entry.sha256}, {"bytes", entry.bytes}};
  for (const ModelFile& file : entry.files) {
    value["files"].push_back(
        {{"name", file.name}, {"sha256", file.blob.sha256}, {"bytes", file.blob.bytes}});
  }
  return write_file_atomically(root / "models" / (entry.name + ".json"), value.dump(1) + "\n");
}

}  // namespace troupe::model
