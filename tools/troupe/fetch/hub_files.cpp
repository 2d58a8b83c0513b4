#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <set>

#include <troupe/model/source/hf_folder.h>
#include <troupe/runtime/text/ascii.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/tools/troupe/fetch/hub_files.h>

namespace troupe::tools {
namespace {

constexpr std::size_t kNamesShown = 12;
constexpr const char* kWeights = "model.safetensors";

bool is_gguf(const ListedFile& file) { return to_lower(file.path).ends_with(".gguf"); }

// The name of a model's file, and which of the model's parts the file is.
struct PartName {
  std::string name;
  unsigned part = 1, parts = 1;
};
// Splits NAME-00002-of-00005 into NAME, 2 and 5. Any other name is part one of one.
PartName split_name(const std::string& stem) {
  constexpr std::size_t kDigits = 5, kTail = 1 + kDigits + 4 + kDigits;  // -00001-of-00003
  if (stem.size() <= kTail) return {stem};
  const std::string tail = stem.substr(stem.size() - kTail);
  const std::string part = tail.substr(1, kDigits), parts = tail.substr(kTail - kDigits);
  const auto digits = [](const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
  };
  if (tail[0] != '-' || tail.substr(1 + kDigits, 4) != "-of-" || !digits(part) || !digits(parts)) {
    return {stem};
  }
  return {stem.substr(0, stem.size() - kTail), static_cast<unsigned>(std::stoul(part)),
          static_cast<unsigned>(std::stoul(parts))};
}

// A model in parts, some of which may be missing.
struct Candidate {
  GgufChoice choice;
  std::map<unsigned, ListedFile> parts;
  unsigned parts_expected = 1;
};

std::vector<Candidate> candidates_of(const std::vector<ListedFile>& files) {
  std::map<std::string, Candidate> by_name;  // by folder, name and number of parts
  for (const ListedFile& file : files) {
    if (!is_gguf(file)) continue;
    const std::filesystem::path path(file.path);
    const PartName name = split_name(path.stem().string());
    const std::string key = (path.parent_path() / name.name).string() +
                            (name.parts > 1 ? ":" + std::to_string(name.parts) : "");
    Candidate& candidate = by_name[key];
    candidate.choice.name = name.name;
    candidate.parts_expected = name.parts;
    candidate.parts.emplace(name.part, file);
  }
  std::vector<Candidate> candidates;
  for (auto& [key, candidate] : by_name) {
    for (const auto& [part, file] : candidate.parts) candidate.choice.parts.push_back(file);
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

std::string names_of(const std::vector<Candidate>& candidates) {
  std::string names;
  for (std::size_t i = 0; i < candidates.size() && i < kNamesShown; ++i) {
    const Candidate& one = candidates[i];
    names += (i == 0 ? "" : ", ") + one.choice.parts.front().path;
    if (one.parts_expected > 1) names += " (" + std::to_string(one.parts_expected) + " parts)";
  }
  if (candidates.size() > kNamesShown) {
    names += " and " + std::to_string(candidates.size() - kNamesShown) + " more";
  }
  return names;
}

// Returns how well `quant` fits a name: 2 if it is a word of its own (Q4_K in x-q4_k.gguf, but not
// in x-q4_k_m.gguf), 1 if it is part of a word, 0 if it does not occur.
int fit(const std::string& name, const std::string& quant) {
  const auto in_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  };
  int best = 0;
  for (std::size_t at = name.find(quant); at != name.npos; at = name.find(quant, at + 1)) {
    const std::size_t end = at + quant.size();
    const bool word =
        (at == 0 || !in_word(name[at - 1])) && (end >= name.size() || !in_word(name[end]));
    best = std::max(best, word ? 2 : 1);
  }
  return best;
}

Result<GgufChoice> whole(Candidate candidate, const std::string& where) {
  for (unsigned part = 1; part <= candidate.parts_expected; ++part) {
    if (candidate.parts.contains(part)) continue;
    return Status(Code::kBadData, where + " lacks part " + std::to_string(part) + " of the " +
                                      std::to_string(candidate.parts_expected) + " of " +
                                      candidate.choice.name + ": its owner must repair it");
  }
  return std::move(candidate.choice);
}

const ListedFile* find(const std::vector<ListedFile>& files, std::string_view path) {
  const auto found = std::find_if(files.begin(), files.end(),
                                  [&](const ListedFile& file) { return file.path == path; });
  return found == files.end() ? nullptr : &*found;
}

Result<std::set<std::string>> shards_of(const std::string& index, const std::string& where) {
  const Status bad(Code::kBadData, where + "/" + kIndexFile +
                                       " has no \"weight_map\" of names of "
                                       "safetensors files: its owner must repair it");
  const auto parsed = parse_json(index, kIndexFile, {std::size_t{64} << 20, 32, "try again"});
  if (!parsed || !parsed->is_object()) return bad;
  const auto map = parsed->find("weight_map");
  if (map == parsed->end() || !map->is_object()) return bad;
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string()) return bad;
    const auto name = shard.get<std::string>();
    if (name.find('/') != name.npos || !name.ends_with(".safetensors")) return bad;
    shards.insert(name);
  }
  return shards.empty() ? Result<std::set<std::string>>(bad) : shards;
}

}  // namespace

bool has_gguf(const std::vector<ListedFile>& files) {
  return std::any_of(files.begin(), files.end(), is_gguf);
}

bool has_folder(const std::vector<ListedFile>& files) {
  return find(files, "config.json") != nullptr;
}

Result<GgufChoice> choose_gguf(const std::vector<ListedFile>& files, const std::string& choice,
                               const std::string& where) {
  std::vector<Candidate> candidates = candidates_of(files);
  if (candidates.empty()) {
    return Status(Code::kNotFound, where +
                                       " holds no GGUF file, and no config.json with "
                                       "safetensors: name another repository");
  }
  std::vector<Candidate> words, fitting;
  for (const Candidate& candidate : candidates) {
    for (const ListedFile& part : candidate.choice.parts) {
      if (part.path == choice) return whole(candidate, where);
    }
    const std::string name =
        to_lower(std::filesystem::path(candidate.choice.parts.front().path).filename().string());
    const int fits = choice.empty() ? 1 : fit(name, to_lower(choice));
    if (fits > 1) words.push_back(candidate);
    if (fits > 0) fitting.push_back(candidate);
  }
  if (words.size() == 1) return whole(words.front(), where);
  if (fitting.size() == 1) return whole(fitting.front(), where);
  if (fitting.empty()) {
    return Status(Code::kNotFound,
                  where + " has no file '" + choice + "'; it has: " + names_of(candidates));
  }
  return Status(
      Code::kInvalidArgument,
      "several files of " + where + " fit; say which as hf://USER/REPO:FILE: " + names_of(fitting));
}

bool needs_index(const std::vector<ListedFile>& files) {
  return find(files, kWeights) == nullptr && find(files, kIndexFile) != nullptr;
}

Result<std::vector<ListedFile>> choose_folder(const std::vector<ListedFile>& files,
                                              const std::string& index, const std::string& where) {
  std::vector<ListedFile> chosen;
  for (const model::FolderText& text : model::kFolderTexts) {
    if (const ListedFile* file = find(files, text.file)) chosen.push_back(*file);
  }
  const ListedFile* const single = find(files, kWeights);
  if (find(files, "config.json") == nullptr || (single == nullptr && !needs_index(files))) {
    return Status(Code::kNotFound, where + " has no config.json with " + kWeights + " or " +
                                       kIndexFile +
                                       " at its top: name another repository, or a "
                                       "GGUF file of this one");
  }
  if (single != nullptr) {
    chosen.push_back(*single);
    return chosen;
  }
  chosen.push_back(*find(files, kIndexFile));
  TROUPE_ASSIGN_OR_RETURN(const std::set<std::string> shards, shards_of(index, where));
  for (const std::string& shard : shards) {
    const ListedFile* const file = find(files, shard);
    if (file == nullptr) {
      return Status(Code::kNotFound, where + " has no " + shard + ", which its " + kIndexFile +
                                         " names: its owner must repair it");
    }
    chosen.push_back(*file);
  }
  return chosen;
}

}  // namespace troupe::tools
