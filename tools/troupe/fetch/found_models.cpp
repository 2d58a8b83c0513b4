#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <system_error>

#include <nlohmann/json.hpp>

#include <troupe/runtime/file.h>
#include <troupe/runtime/sha256.h>
#include <troupe/runtime/text/ascii.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>
#include <troupe/tools/troupe/fetch/found_models.h>

namespace troupe::tools {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kEntriesMax = 20000;  // of one program's folder
constexpr int kDepthMax = 8;
constexpr JsonLimits kManifestLimits{std::size_t{1} << 20, 16, "fetch it again with Ollama"};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// True for a regular file that, after links are followed, lies within `folder`. Sets its size.
bool is_file_within(const fs::path& file, const fs::path& folder, std::uint64_t* bytes) {
  std::error_code error;
  const fs::path inner = fs::canonical(file, error);
  const fs::path outer = error ? fs::path() : fs::canonical(folder, error);
  if (error || !fs::is_regular_file(inner, error)) return false;
  const auto ends = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  if (ends.first != outer.end()) return false;
  *bytes = fs::file_size(inner, error);
  return !error;
}

// Calls `on_file` with the files below `folder` and their paths within it, in order. Links to
// folders are not followed.
void walk(const fs::path& folder,
          const std::function<void(const fs::path& file, const std::string& within)>& on_file) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator at(folder, fs::directory_options::skip_permission_denied, error);
  for (std::size_t seen = 0; !error && at != fs::recursive_directory_iterator(); ++seen) {
    if (seen == kEntriesMax) break;
    if (at.depth() >= kDepthMax) at.disable_recursion_pending();
    std::error_code ignored;
    // Skips whatever would block, such as a pipe; is_file_within decides about links.
    if (at->is_regular_file(ignored) || !fs::exists(at->status(ignored))) {
      files.push_back(at->path());
    }
    at.increment(error);
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) on_file(file, file.lexically_relative(folder).string());
}

bool is_gguf_name(const std::string& name) { return to_lower(name).ends_with(".gguf"); }

// Returns the number of a part in NAME-00002-of-00003.gguf, or "".
std::string part_of(const std::string& name) {
  constexpr std::size_t kTail = std::string_view("-00001-of-00003.gguf").size();
  if (name.size() <= kTail) return "";
  const std::string tail = name.substr(name.size() - kTail);
  return tail[0] == '-' && tail.substr(6, 4) == "-of-" ? tail.substr(1, 5) : "";
}

// True for other kinds of files with the same ending: those that project pictures for a model.
bool is_projector(const std::string& name) {
  return to_lower(fs::path(name).filename().string()).find("mmproj") != std::string::npos;
}

// Adds a GGUF file, unless it is a later part, whose bytes count for the model of the first part.
void add_gguf(const fs::path& file, const std::string& name, const fs::path& root,
              std::vector<FoundModel>* found) {
  if (!is_gguf_name(name) || is_projector(name)) return;
  const std::string part = part_of(name);
  FoundModel model{name, file, 0, ""};
  if (!is_file_within(file, root, &model.bytes))
    model.trouble = "its file is missing, or lies outside " + root.string();
  if (!part.empty() && part != "00001") {
    constexpr std::size_t kTail = std::string_view("-00001-of-00003.gguf").size();
    const std::string stem = name.substr(0, name.size() - kTail);
    for (FoundModel& one : *found)
      if (one.name.starts_with(stem + "-00001-of-")) {
        one.bytes += model.bytes;
        if (one.trouble.empty()) one.trouble = model.trouble;
      }
    return;
  }
  found->push_back(std::move(model));
}

// The contents of one of Ollama's manifests.
struct Layers {
  std::vector<std::string> models;  // hashes
  std::uint64_t bytes = 0;
  bool has_adapter = false;
};

Result<Layers> read_layers(const fs::path& manifest) {
  const std::string what = manifest.string();
  TROUPE_ASSIGN_OR_RETURN(const std::string text, read_file(manifest, kManifestLimits.bytes_max));
  TROUPE_ASSIGN_OR_RETURN(const json value, parse_json(text, what, kManifestLimits));
  const Status bad(Code::kBadData,
                   what + " is not one of Ollama's manifests; " + kManifestLimits.advice);
  if (!value.is_object() || !value.contains("layers") || !value["layers"].is_array()) return bad;
  constexpr std::string_view kHash = "sha256:";
  Layers layers;
  for (const json& layer : value["layers"]) {
    if (!layer.is_object() || !layer.contains("mediaType") || !layer["mediaType"].is_string())
      return bad;
    const auto type = layer["mediaType"].get<std::string>();
    layers.has_adapter = layers.has_adapter || type == "application/vnd.ollama.image.adapter";
    if (type != "application/vnd.ollama.image.model") continue;
    if (!layer.contains("digest") || !layer["digest"].is_string() || !layer.contains("size") ||
        !layer["size"].is_number_unsigned())
      return bad;
    const auto digest = layer["digest"].get<std::string>();
    if (!digest.starts_with(kHash) || !is_sha256_hex(digest.substr(kHash.size()))) return bad;
    layers.models.push_back(digest.substr(kHash.size()));
    layers.bytes = layer["size"].get<std::uint64_t>();
  }
  return layers;
}

// Returns Ollama's name for manifests/HOST/NAMESPACE/MODEL/TAG, or "" for another path.
std::string ollama_name(const std::string& within) {
  std::vector<std::string> parts;
  for (const fs::path& part : fs::path(within)) parts.push_back(part.string());
  if (parts.size() != 4 || parts[3].starts_with(".")) return "";
  std::string name = parts[2] + ":" + parts[3];
  const bool is_own = parts[0] == "registry.ollama.ai";
  if (!is_own || parts[1] != "library") name = parts[1] + "/" + name;
  return is_own ? name : parts[0] + "/" + name;
}

std::vector<FoundModel> find_ollama(const fs::path& root) {
  std::vector<FoundModel> found;
  walk(root / "manifests", [&](const fs::path& manifest, const std::string& within) {
    const std::string name = ollama_name(within);
    if (name.empty()) return;
    FoundModel model{name, {}, 0, ""};
    const Result<Layers> layers = read_layers(manifest);
    if (!layers) {
      model.trouble = layers.message();
    } else if (layers->models.size() != 1) {
      model.trouble = "it is not one GGUF file, but " + std::to_string(layers->models.size()) +
                      "; pull the model with troupe";
    } else {
      model.path = root / "blobs" / ("sha256-" + layers->models.front());
      if (!is_file_within(model.path, root, &model.bytes)) {
        model.trouble = "its file " + model.path.string() + " is missing, or lies outside " +
                        root.string() + "; fetch it again with Ollama";
      } else if (model.bytes != layers->bytes) {
        model.trouble = "its file " + model.path.string() + " has " + std::to_string(model.bytes) +
                        " bytes, and Ollama's manifest says " + std::to_string(layers->bytes) +
                        "; fetch it again with Ollama";
      } else if (layers->has_adapter) {
        model.trouble =
            "it is a model with one of Ollama's adapters, which Troupe cannot add; give the model "
            "alone, " +
            model.path.string();
      }
    }
    found.push_back(std::move(model));
  });
  return found;
}

// Adds folder models, which have config.json and safetensors, among the files of one folder.
void add_folder(const fs::path& folder, const std::string& name, const fs::path& root,
                std::vector<FoundModel>* found) {
  std::error_code error;
  if (!fs::exists(folder / "config.json", error)) return;
  FoundModel model{name, folder, 0, ""};
  bool has_weights = false;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string file = entry.path().filename().string();
    std::uint64_t bytes = 0;
    const bool is_weights = file.ends_with(".safetensors");
    std::error_code ignored;
    if (entry.is_directory(ignored) && !entry.is_symlink(ignored)) {
      // Named templates lie one level down.
      for (const auto& inner : fs::directory_iterator(entry.path(), ignored)) {
        std::uint64_t inner_bytes = 0;
        if (inner.is_directory(ignored) || is_file_within(inner.path(), root, &inner_bytes))
          continue;
        model.trouble = "its file " + file + "/" + inner.path().filename().string() +
                        " is missing, or lies outside " + root.string();
      }
      continue;
    }
    if (!is_file_within(entry.path(), root, &bytes))
      model.trouble = "its file " + file + " is missing, or lies outside " + root.string();
    has_weights = has_weights || is_weights;
    model.bytes += bytes;
  }
  if (has_weights) found->push_back(std::move(model));
}

std::vector<FoundModel> find_lm_studio(const fs::path& root) {
  std::vector<FoundModel> found;
  walk(root, [&](const fs::path& file, const std::string& within) {
    add_gguf(file, within, root, &found);
    if (file.filename() == "config.json")
      add_folder(file.parent_path(), fs::path(within).parent_path().string(), root, &found);
  });
  return found;
}

// Finds the models of the hub's cache. The files lie in models--USER--REPO/snapshots/REVISION/...,
// and refs/main names the newest revision.
std::vector<FoundModel> find_hub_cache(const fs::path& root) {
  std::vector<FoundModel> found;
  constexpr std::string_view kPrefix = "models--";
  std::error_code error;
  std::vector<fs::path> repositories;
  for (const auto& entry : fs::directory_iterator(root, error)) {
    if (!entry.path().filename().string().starts_with(kPrefix)) continue;
    if (repositories.size() < kEntriesMax) repositories.push_back(entry.path());
  }
  std::sort(repositories.begin(), repositories.end());
  for (const fs::path& repository : repositories) {
    std::string name = repository.filename().string().substr(kPrefix.size());
    const std::size_t dashes = name.find("--");
    if (dashes != name.npos) name.replace(dashes, 2, "/");
    constexpr std::size_t kRevisionBytesMax = 256;
    std::error_code ignored;
    const fs::path main = repository / "refs" / "main";
    if (!fs::is_regular_file(main, ignored)) continue;
    Result<std::string> revision = read_file(main, kRevisionBytesMax);
    if (!revision) continue;  // only other revisions were fetched
    while (!revision->empty() && revision->back() == '\n') revision->pop_back();
    const bool is_plain =
        !revision->empty() && std::all_of(revision->begin(), revision->end(), is_alphanumeric);
    if (!is_plain) continue;
    const fs::path snapshot = repository / "snapshots" / *revision;
    walk(snapshot, [&](const fs::path& file, const std::string& within) {
      add_gguf(file, name + "/" + within, repository, &found);
    });
    add_folder(snapshot, name, repository, &found);
  }
  return found;
}

std::vector<FoundModel> find_llama_cpp(const fs::path& root) {
  std::vector<FoundModel> found;
  walk(root, [&](const fs::path& file, const std::string& within) {
    add_gguf(file, within, root, &found);
  });
  return found;
}

struct Program {
  const char* name;
  std::vector<FoundModel> (*find)(const fs::path& root);
};
constexpr Program kPrograms[] = {{"ollama", find_ollama},
                                 {"lmstudio", find_lm_studio},
                                 {"huggingface", find_hub_cache},
                                 {"llama.cpp", find_llama_cpp}};

std::string program_of(const std::string& name) {
  for (const Program& program : kPrograms)
    if (name.starts_with(std::string(program.name) + ":")) return program.name;
  return "";
}

}  // namespace

std::vector<FoundPlace> found_places() {
  const fs::path home = variable("HOME");
  const std::string xdg = variable("XDG_CACHE_HOME");
  const fs::path cache = xdg.empty() ? home / ".cache" : fs::path(xdg);
  std::vector<FoundPlace> places;
  const auto add = [&](const char* program, const fs::path& folder) {
    std::error_code error;
    if (folder.is_absolute() && fs::is_directory(folder, error))
      places.push_back({program, folder});
  };
  const std::string ollama = variable("OLLAMA_MODELS");
  add("ollama", ollama.empty() ? home / ".ollama" / "models" : fs::path(ollama));
  // The folder of the service that Ollama's own script installs.
  if (ollama.empty()) add("ollama", "/usr/share/ollama/.ollama/models");
  add("lmstudio", home / ".lmstudio" / "models");
  add("lmstudio", home / ".cache" / "lm-studio" / "models");
  const std::string hub = variable("HF_HUB_CACHE"), hugging_face = variable("HF_HOME");
  if (!hub.empty()) {
    add("huggingface", hub);
  } else {
    add("huggingface",
        (hugging_face.empty() ? cache / "huggingface" : fs::path(hugging_face)) / "hub");
  }
  const std::string llama = variable("LLAMA_CACHE");
  add("llama.cpp", llama.empty() ? cache / "llama.cpp" : fs::path(llama));
  return places;
}

std::vector<FoundModel> find_models(const std::vector<FoundPlace>& places) {
  std::map<std::string, FoundModel> found;  // the first place of a program counts
  for (const FoundPlace& place : places) {
    for (const Program& program : kPrograms) {
      if (place.program != program.name) continue;
      for (FoundModel& model : program.find(place.folder)) {
        model.name = place.program + ":" + model.name;
        found.emplace(model.name, std::move(model));
      }
    }
  }
  std::vector<FoundModel> out;
  for (auto& [name, model] : found) out.push_back(std::move(model));
  return out;
}

bool is_found_name(const std::string& name) { return !program_of(name).empty(); }

Result<fs::path> resolve_found(const std::string& name, const std::vector<FoundPlace>& places) {
  constexpr std::size_t kNamesShown = 12;
  const std::string program = program_of(name);
  std::string names;
  std::size_t count = 0;
  for (const FoundModel& model : find_models(places)) {
    if (model.name == name || model.name == name + ":latest") {
      if (model.trouble.empty()) return model.path;
      return Status(Code::kFailedPrecondition,
                    in_quotes(name) + " cannot be used: " + model.trouble);
    }
    if (program_of(model.name) != program || ++count > kNamesShown) continue;
    names += (names.empty() ? "" : ", ") + plain_line(model.name, 200);
  }
  if (count > kNamesShown) names += " and " + std::to_string(count - kNamesShown) + " more";
  return Status(Code::kNotFound,
                "there is no model " + in_quotes(name) + " on this machine; " +
                    (names.empty() ? "nothing of " + program +
                                         " was found ('troupe ls --found' says where it was "
                                         "looked for)"
                                   : "there are " + names));
}

}  // namespace troupe::tools
