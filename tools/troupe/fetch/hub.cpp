#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include <troupe/runtime/sha256.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/tools/troupe/fetch/hub.h>
#include <troupe/tools/troupe/fetch/hub_files.h>

namespace troupe::tools {
namespace {

constexpr const char kHubPrefix[] = "hf://";
constexpr std::size_t kListingBytesMax = 16u << 20;
constexpr const char* kFolderWord = "safetensors";

struct Reference {
  std::string repository, choice;  // "user/repo", and what follows the colon
};

bool is_name(const std::string& text) {
  return !text.empty() && text.find("..") == std::string::npos &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) || c == '-' || c == '_' || c == '.';
         });
}

Result<Reference> parse(const std::string& url) {
  Reference reference;
  reference.repository = url.substr(sizeof kHubPrefix - 1);
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
                      "' is not hf://USER/REPO, hf://USER/REPO:QUANT, "
                      "hf://USER/REPO:FILE or hf://USER/REPO:safetensors, e.g. "
                      "hf://user/model-GGUF:Q4_1");
  }
  return reference;
}

// http:// is allowed to this machine, since no other machine is on the way.
bool is_this_machine(const std::string& url) {
  if (url.find('@') != std::string::npos) return false;  // the text before the '@' is not a host
  for (const std::string host : {"http://127.0.0.1", "http://localhost"}) {
    if (url.rfind(host, 0) == 0 && (url.size() == host.size() || url[host.size()] == ':')) {
      return true;
    }
  }
  return false;
}

Result<std::string> endpoint() {
  const char* set = std::getenv("HF_ENDPOINT");
  std::string hub = set != nullptr && *set != '\0' ? set : "https://huggingface.co";
  while (!hub.empty() && hub.back() == '/') hub.pop_back();
  if (hub.rfind("https://", 0) != 0 && !is_this_machine(hub)) {
    return Status(Code::kInvalidArgument,
                  "HF_ENDPOINT is '" + hub +
                      "': anyone on the way could change what comes over another scheme than "
                      "https://; set an https:// address");
  }
  return hub;
}

Result<std::vector<ListedFile>> parse_listing(const std::string& text, const std::string& from) {
  const auto parsed = parse_json(text, "the list of files", {kListingBytesMax, 32, "try again"});
  if (!parsed || !parsed->is_array()) {
    return Status(Code::kBadData, from + " did not answer with a list of files: is it a hub?");
  }
  std::vector<ListedFile> files;
  for (const auto& entry : *parsed) {
    if (!entry.is_object() || !entry.contains("path") || !entry["path"].is_string()) continue;
    if (entry.contains("type") && entry["type"] != "file") continue;
    ListedFile file;
    file.path = entry["path"].get<std::string>();
    if (entry.contains("size") && entry["size"].is_number_unsigned()) {
      file.bytes = entry["size"].get<std::uint64_t>();
    }
    if (entry.contains("lfs") && entry["lfs"].is_object() && entry["lfs"].contains("oid") &&
        entry["lfs"]["oid"].is_string()) {
      const auto oid = entry["lfs"]["oid"].get<std::string>();
      if (is_sha256_hex(oid)) file.sha256 = oid;
    }
    files.push_back(std::move(file));
  }
  return files;
}

// Escapes a path of the repository for an address.
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

std::string token_for(const std::string& url) {
  const Result<std::string> hub = endpoint();
  const char* token = std::getenv("HF_TOKEN");
  if (token == nullptr || !hub || url.rfind(*hub + "/", 0) != 0) return "";
  return token;
}

Result<HubModel> find_on_hub(const std::string& hf_url, const FetchLimits& limits) {
  TROUPE_ASSIGN_OR_RETURN(const Reference reference, parse(hf_url));
  TROUPE_ASSIGN_OR_RETURN(const std::string hub, endpoint());
  const std::string listing_url =
      hub + "/api/models/" + reference.repository + "/tree/main?recursive=true";
  const std::string files_url = hub + "/" + reference.repository + "/resolve/main/";
  const std::string where = "hf://" + reference.repository;
  TROUPE_ASSIGN_OR_RETURN(const std::string text, fetch_text(listing_url, token_for(listing_url),
                                                             kListingBytesMax, limits));
  TROUPE_ASSIGN_OR_RETURN(const auto listed, parse_listing(text, listing_url));
  HubModel model;
  std::vector<ListedFile> chosen;
  model.folder = reference.choice == kFolderWord ||
                 (reference.choice.empty() && !has_gguf(listed) && has_folder(listed));
  if (model.folder) {
    std::string index;
    if (needs_index(listed)) {
      const std::string url = files_url + kIndexFile;
      TROUPE_ASSIGN_OR_RETURN(index, fetch_text(url, token_for(url), kListingBytesMax, limits));
    }
    TROUPE_ASSIGN_OR_RETURN(chosen, choose_folder(listed, index, where));
    model.name = reference.repository.substr(reference.repository.find('/') + 1);
  } else {
    TROUPE_ASSIGN_OR_RETURN(GgufChoice choice, choose_gguf(listed, reference.choice, where));
    model.name = choice.name;
    chosen = std::move(choice.parts);
  }
  for (const ListedFile& file : chosen) {
    const std::string url = files_url + escape_path(file.path);
    model.files.push_back({url, std::filesystem::path(file.path).filename().string(), file.sha256,
                           file.bytes, token_for(url)});
  }
  return model;
}

}  // namespace troupe::tools
