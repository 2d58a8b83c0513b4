#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/model/gguf_split.h>
#include <troupe/tools/troupe/fetch.h>
#include <troupe/tools/troupe/hub.h>

namespace troupe::tools {
namespace {

constexpr const char kPrefix[] = "hf://";
constexpr std::size_t kListingBytesMax = 16u << 20;
constexpr std::size_t kNamesShown = 12;

struct Reference {
  std::string repository, choice;  // "user/repo", what follows the colon
};

bool is_name(const std::string& text) {
  return !text.empty() && text.find("..") == std::string::npos &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) || c == '-' || c == '_' || c == '.';
         });
}

Result<Reference> parse(const std::string& url) {
  Reference reference;
  reference.repository = url.substr(sizeof kPrefix - 1);
  const std::size_t colon = reference.repository.find(':');
  if (colon != std::string::npos) {
    reference.choice = reference.repository.substr(colon + 1);
    reference.repository.resize(colon);
  }
  const std::size_t slash = reference.repository.find('/');
  const bool two_names = slash != std::string::npos &&
                         is_name(reference.repository.substr(0, slash)) &&
                         is_name(reference.repository.substr(slash + 1));
  if (!two_names || (colon != std::string::npos && reference.choice.empty())) {
    return Status(Code::kInvalidArgument,
                  "'" + url +
                      "' is not hf://USER/REPO, hf://USER/REPO:QUANT or "
                      "hf://USER/REPO:FILE, e.g. hf://user/model-GGUF:Q4_1");
  }
  return reference;
}

Result<std::string> endpoint() {
  const char* set = std::getenv("HF_ENDPOINT");
  std::string hub = set != nullptr && *set != '\0' ? set : "https://huggingface.co";
  while (!hub.empty() && hub.back() == '/') hub.pop_back();
  const bool here = hub.rfind("http://127.0.0.1", 0) == 0 || hub.rfind("http://localhost", 0) == 0;
  if (hub.rfind("https://", 0) != 0 && !here) {
    return Status(Code::kInvalidArgument,
                  "HF_ENDPOINT is '" + hub +
                      "': anyone on the way could change what comes over another scheme than "
                      "https://; set an https:// address");
  }
  return hub;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

struct Listed {
  std::string path;
  std::uint64_t bytes = 0;
  std::optional<std::string> sha256;
};

Result<std::vector<Listed>> parse_listing(const std::string& text, const std::string& from) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) {
    return Status(Code::kBadData, from + " did not answer with a list of files: is it a hub?");
  }
  std::vector<Listed> files;
  for (const auto& entry : json) {
    if (!entry.is_object() || !entry.contains("path") || !entry["path"].is_string()) continue;
    Listed file;
    file.path = entry["path"].get<std::string>();
    if (!lower(file.path).ends_with(".gguf")) continue;
    if (entry.contains("size") && entry["size"].is_number_unsigned()) {
      file.bytes = entry["size"].get<std::uint64_t>();
    }
    if (entry.contains("lfs") && entry["lfs"].is_object() && entry["lfs"].contains("oid") &&
        entry["lfs"]["oid"].is_string()) {
      const auto oid = entry["lfs"]["oid"].get<std::string>();
      if (oid.size() == 64) file.sha256 = oid;
    }
    files.push_back(std::move(file));
  }
  return files;
}

std::string names_of(const std::vector<Listed>& files) {
  std::string names;
  for (std::size_t i = 0; i < files.size() && i < kNamesShown; ++i) {
    names += (i == 0 ? "" : ", ") + files[i].path;
  }
  if (files.size() > kNamesShown) {
    names += " and " + std::to_string(files.size() - kNamesShown) + " more";
  }
  return names;
}

Result<Listed> choose(const std::vector<Listed>& files, const Reference& reference) {
  const std::string where = "hf://" + reference.repository;
  if (files.empty()) {
    return Status(Code::kNotFound,
                  where + " holds no GGUF file: name a repository that does (often ...-GGUF)");
  }
  std::vector<Listed> fitting;
  for (const Listed& file : files) {
    if (file.path == reference.choice) return file;
    const std::string name = lower(std::filesystem::path(file.path).filename().string());
    if (name.find(lower(reference.choice)) != std::string::npos) fitting.push_back(file);
  }
  if (fitting.size() == 1) return fitting.front();
  if (fitting.empty()) {
    return Status(Code::kNotFound,
                  where + " has no file '" + reference.choice + "'; it has: " + names_of(files));
  }
  return Status(
      Code::kInvalidArgument,
      "several files of " + where + " fit; say which as hf://USER/REPO:FILE: " + names_of(fitting));
}

// A path of the repository as part of an address: what is not plain is escaped.
std::string escape_path(const std::string& path) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) || c == '-' || c == '_' || c == '.' || c == '/' || c == '~') {
      out += c;
    } else {
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

}  // namespace

std::string hub_token() {
  const char* token = std::getenv("HF_TOKEN");
  return token != nullptr ? token : "";
}

Result<HubFile> find_on_hub(const std::string& hf_url) {
  TROUPE_ASSIGN_OR_RETURN(const Reference reference, parse(hf_url));
  TROUPE_ASSIGN_OR_RETURN(const std::string hub, endpoint());
  const std::string listing_url =
      hub + "/api/models/" + reference.repository + "/tree/main?recursive=true";
  TROUPE_ASSIGN_OR_RETURN(const std::string text,
                          fetch_text(listing_url, hub_token(), kListingBytesMax));
  TROUPE_ASSIGN_OR_RETURN(const auto files, parse_listing(text, listing_url));
  TROUPE_ASSIGN_OR_RETURN(const Listed chosen, choose(files, reference));
  const std::string name = std::filesystem::path(chosen.path).filename().string();
  if (const std::uint64_t parts = model::gguf_parts(name); parts > 1) {
    return Status(
        Code::kInvalidArgument,
        name + " is one of the " + std::to_string(parts) +
            " parts of a model, and 'troupe pull' fetches whole files; fetch all of them "
            "into one folder and give the path of any of them where a model is asked for");
  }
  HubFile file;
  file.url = hub + "/" + reference.repository + "/resolve/main/" + escape_path(chosen.path);
  file.name = std::filesystem::path(chosen.path).stem().string();
  file.sha256 = chosen.sha256;
  file.bytes = chosen.bytes;
  return file;
}

}  // namespace troupe::tools
