#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include <troupe/runtime/sha256.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>
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

// Says whether the address is of this machine, to which http:// is allowed, because no other
// machine is on the way.
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
    if (entry.contains("oid") && entry["oid"].is_string()) {
      const auto oid = entry["oid"].get<std::string>();
      const bool is_hex =
          oid.size() <= 64 && std::all_of(oid.begin(), oid.end(),
                                          [](unsigned char c) { return std::isxdigit(c) != 0; });
      if (is_hex) file.git = oid;
    }
    files.push_back(std::move(file));
  }
  return files;
}

// What the hub says about a repository as a whole.
struct Description {
  std::string license;
  bool gated = false;
};

Result<Description> parse_description(const std::string& text, const std::string& from) {
  const auto parsed =
      parse_json(text, "the description", {kListingBytesMax, 32, "try again", /*python=*/true});
  if (!parsed || !parsed->is_object())
    return Status(Code::kBadData, from + " did not answer with a description: is it a hub?");
  constexpr std::size_t kLicenseBytesMax = 100;
  Description out;
  const auto license_of = [&](const nlohmann::json& value) {
    if (value.is_string() && out.license.empty())
      out.license = plain_line(value.get<std::string>(), kLicenseBytesMax);
  };
  const auto card = parsed->find("cardData");
  if (card != parsed->end() && card->is_object()) {
    // "other" says nothing; in that case the name says more.
    if (card->contains("license_name")) license_of((*card)["license_name"]);
    if (card->contains("license")) license_of((*card)["license"]);
  }
  constexpr std::string_view kTag = "license:";
  const auto tags = parsed->find("tags");
  if (tags != parsed->end() && tags->is_array())
    for (const auto& tag : *tags)
      if (tag.is_string() && tag.get<std::string>().starts_with(kTag))
        license_of(tag.get<std::string>().substr(kTag.size()));
  // This is false, or says how access is granted: "auto" or "manual".
  const auto gated = parsed->find("gated");
  out.gated = gated != parsed->end() && (gated->is_string() || *gated == true);
  return out;
}

// Asks for the hub's description of the repository. A hub that has no such page states nothing.
Result<Description> describe(const std::string& hub, const std::string& repository,
                             const FetchLimits& limits) {
  const std::string url = hub + "/api/models/" + repository;
  const Result<std::string> text = fetch_text(url, token_for(url), kListingBytesMax, limits);
  if (text.code() == Code::kNotFound) return Description{};
  if (text.code() == Code::kPermissionDenied)
    return Status(
        Code::kPermissionDenied,
        "hf://" + repository +
            " cannot be seen: there is no such repository, or it is "
            "private; check how it is spelt, or set HF_TOKEN to a token of an account that "
            "may read it (" +
            text.message() + ")");
  if (!text) return text.status();
  return parse_description(*text, url);
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

std::string as_hub_address(const std::string& source) {
  for (const std::string scheme : {"https://", ""}) {
    for (const std::string host : {"huggingface.co/", "www.huggingface.co/", "hf.co/"}) {
      if (!source.starts_with(scheme + host)) continue;
      const std::string rest = source.substr(scheme.size() + host.size());
      const std::size_t slash = rest.find('/');
      const std::size_t second = slash == rest.npos ? rest.npos : rest.find('/', slash + 1);
      const std::string repository = rest.substr(0, second);
      if (second == rest.npos) return kHubPrefix + repository;
      // Returns the page of a file, or of the list of files.
      const std::string page = rest.substr(second), file = "/blob/main/";
      if (page.starts_with(file)) return kHubPrefix + repository + ":" + page.substr(file.size());
      if (page == "/" || page == "/tree/main") return kHubPrefix + repository;
    }
  }
  return source;
}

Result<HubModel> find_on_hub(const std::string& hf_url, const FetchLimits& limits) {
  TROUPE_ASSIGN_OR_RETURN(const Reference reference, parse(hf_url));
  TROUPE_ASSIGN_OR_RETURN(const std::string hub, endpoint());
  const std::string listing_url =
      hub + "/api/models/" + reference.repository + "/tree/main?recursive=true";
  const std::string files_url = hub + "/" + reference.repository + "/resolve/main/";
  const std::string where = "hf://" + reference.repository;
  TROUPE_ASSIGN_OR_RETURN(const Description described, describe(hub, reference.repository, limits));
  TROUPE_ASSIGN_OR_RETURN(const std::string text, fetch_text(listing_url, token_for(listing_url),
                                                             kListingBytesMax, limits));
  TROUPE_ASSIGN_OR_RETURN(const auto listed, parse_listing(text, listing_url));
  HubModel model;
  model.license = described.license;
  model.gated = described.gated;
  model.page = hub + "/" + reference.repository;
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
    RemoteFile& added = model.files.back();
    added.place = where + "/" + file.path;
    if (file.sha256) added.stated = "sha256:" + *file.sha256;
    if (!file.sha256 && !file.git.empty()) added.stated = "git:" + file.git;
  }
  return model;
}

}  // namespace troupe::tools
