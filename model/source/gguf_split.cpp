#include <algorithm>
#include <charconv>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include <troupe/model/files/gguf_reader.h>
#include <troupe/model/files/gguf_writer.h>
#include <troupe/model/source/gguf_split.h>
#include <troupe/model/source/laid_out_model.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kNumberKey = "split.no";
constexpr std::string_view kCountKey = "split.count";
constexpr std::string_view kTensorsKey = "split.tensors.count";
constexpr std::string_view kKeyPrefix = "split.";

Status bad(const fs::path& file, const std::string& sentence) {
  return Status(Code::kBadData, file.string() + ": " + sentence);
}

// "STEM-00002-of-00003.gguf", numbers from 1.
struct PartName {
  std::string stem;
  std::uint64_t number = 0, count = 0;
};

std::string part_name(const std::string& stem, std::uint64_t number, std::uint64_t count) {
  char tail[64];
  std::snprintf(tail, sizeof tail, "-%05llu-of-%05llu.gguf",
                static_cast<unsigned long long>(number), static_cast<unsigned long long>(count));
  return stem + tail;
}

std::optional<PartName> parse_part_name(const std::string& name) {
  constexpr std::size_t kTailBytes = std::string_view("-00001-of-00003.gguf").size();
  if (name.size() < kTailBytes) return std::nullopt;
  PartName part{name.substr(0, name.size() - kTailBytes), 0, 0};
  const char* tail = name.data() + part.stem.size();
  std::from_chars(tail + 1, tail + 6, part.number);
  std::from_chars(tail + 10, tail + 15, part.count);
  // Writing the name again must give the same name, which checks every character of it.
  if (part.number < 1 || part.number > part.count) return std::nullopt;
  if (part_name(part.stem, part.number, part.count) != name) return std::nullopt;
  return part;
}

// One file of a model as it lies on the disk.
struct Part {
  fs::path path;
  MappedFile file;
  GgufHeader header;
  std::vector<GgufEntryPlace> entries;
  std::uint64_t number = 0, count = 0;  // as its keys say; the first is 0
};

Result<Part> open_part(const fs::path& path) {
  Part part;
  part.path = path;
  TROUPE_ASSIGN_OR_RETURN(part.file, MappedFile::open(path));
  const std::span<const std::byte> bytes = part.file.bytes();
  TROUPE_ASSIGN_OR_RETURN(part.header,
                          parse_gguf(bytes, bytes.size(), path.string(), &part.entries));
  for (const auto& [key, value] :
       {std::pair{kNumberKey, &part.number}, std::pair{kCountKey, &part.count}}) {
    const Result<std::uint64_t> number = part.header.u64(key);
    if (!number.is_ok()) return bad(path, "is not part of a split model: " + number.message());
    *value = *number;
  }
  return part;
}

// Checks that the part's keys say what its name says.
Status check_name(const Part& part, const PartName& name) {
  if (part.number + 1 == name.number && part.count == name.count) return Status::ok();
  return bad(part.path, "'split.no' is " + std::to_string(part.number) + " and 'split.count' " +
                            std::to_string(part.count) + ", but the name says part " +
                            std::to_string(name.number) + " of " + std::to_string(name.count) +
                            "; give the file its own name, or take all parts from one source");
}

// Checks that a later part belongs to the first: keys that both have must have the same values.
Status check_together(const Part& first, const Part& part) {
  for (const auto& [key, value] : part.header.metadata) {
    if (key == kNumberKey) continue;
    const auto found = first.header.metadata.find(key);
    if (found == first.header.metadata.end() || found->second == value) continue;
    return bad(part.path,
               in_quotes(key) + " is not what " + first.path.string() +
                   " says: the two are parts of different models; take all parts from one source");
  }
  return Status::ok();
}

Status check_tensors(const std::vector<Part>& parts) {
  std::map<std::string_view, const Part*> seen;
  for (const Part& part : parts) {
    for (const TensorInfo& tensor : part.header.tensors) {
      const auto [place, is_new] = seen.emplace(tensor.name, &part);
      if (!is_new)
        return bad(part.path, "tensor " + in_quotes(tensor.name) + " is in " +
                                  place->second->path.string() + ", too; fetch both again");
    }
  }
  const Part& first = parts.front();
  if (!first.header.metadata.contains(kTensorsKey)) return Status::ok();
  const Result<std::uint64_t> expected = first.header.u64(kTensorsKey);
  if (!expected.is_ok()) return bad(first.path, expected.message());
  if (*expected == seen.size()) return Status::ok();
  return bad(first.path, "'split.tensors.count' is " + std::to_string(*expected) + ", but the " +
                             std::to_string(parts.size()) + " parts have " +
                             std::to_string(seen.size()) +
                             " tensors; take all parts from one source");
}

class SplitModel final : public LaidOutModel {
 public:
  explicit SplitModel(std::vector<Part> parts) : parts_(std::move(parts)) {
    for (const Part& part : parts_)
      for (const TensorInfo& tensor : part.header.tensors)
        by_name_.emplace(tensor.name, Place{&part, &tensor});
  }

  Status make_header();

  Result<std::span<const std::byte>> bytes(std::string_view tensor) const override {
    const auto found = by_name_.find(tensor);
    if (found == by_name_.end())
      return Status(Code::kNotFound,
                    parts_.front().path.string() + " has no tensor " + in_quotes(tensor));
    return found->second.bytes();
  }

  std::string where(std::string_view tensor) const override {
    const auto found = by_name_.find(tensor);
    const Part& part = found == by_name_.end() ? parts_.front() : *found->second.part;
    return part.path.string();
  }

  void drop(std::string_view tensor) const override {
    const auto found = by_name_.find(tensor);
    if (found == by_name_.end()) return;
    const auto& [part, info] = found->second;
    part->file.drop_pages(info->offset, info->bytes);
  }

  void drop_piece(std::span<const std::byte> piece) const override {
    const std::less_equal<const std::byte*> before;
    for (const Part& part : parts_) {
      const std::span<const std::byte> all = part.file.bytes();
      if (before(all.data(), piece.data()) &&
          before(piece.data() + piece.size(), all.data() + all.size()))
        part.file.drop_pages(static_cast<std::size_t>(piece.data() - all.data()), piece.size());
    }
  }

 private:
  struct Place {
    const Part* part;
    const TensorInfo* info;
    std::span<const std::byte> bytes() const {
      return part->file.bytes().subspan(info->offset, info->bytes);
    }
  };

  std::span<const std::byte> bytes_of(const TensorInfo& tensor) const override {
    return by_name_.find(tensor.name)->second.bytes();
  }

  const std::vector<Part> parts_;
  std::map<std::string_view, Place> by_name_;
};

Status SplitModel::make_header() {
  const Part& first = parts_.front();
  GgufHeaderText text;
  text.version = first.header.version;
  text.alignment = first.header.alignment;
  for (const GgufEntryPlace& entry : first.entries) {
    if (entry.key.starts_with(kKeyPrefix)) continue;
    const auto bytes = first.file.bytes().subspan(entry.begin, entry.end - entry.begin);
    text.entries.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    ++text.entry_count;
  }
  std::vector<TensorInfo> tensors;
  for (const Part& part : parts_)
    tensors.insert(tensors.end(), part.header.tensors.begin(), part.header.tensors.end());
  std::string header = write_gguf_header(text, &tensors);
  std::uint64_t end = header.size();
  if (!tensors.empty()) end = tensors.back().offset + tensors.back().bytes;
  // Writers pad the last tensor, too.
  end = (end + text.alignment - 1) / text.alignment * text.alignment;
  for (const Part& part : parts_) part.file.drop_pages(0, part.header.header_bytes);
  return lay_out(std::move(header), end, first.path.string());
}

}  // namespace

Result<std::uint64_t> gguf_parts(const GgufHeader& header) {
  if (!header.metadata.contains(kCountKey)) return std::uint64_t{1};
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t count, header.u64(kCountKey));
  return std::max<std::uint64_t>(count, 1);
}

Result<std::unique_ptr<WholeModel>> open_gguf_split(const fs::path& path) {
  TROUPE_ASSIGN_OR_RETURN(const Part given, open_part(path));
  std::optional<PartName> name = parse_part_name(path.filename().string());
  if (!name.has_value()) {
    return bad(path, "is part " + std::to_string(given.number + 1) + " of " +
                         std::to_string(given.count) + " of a model, but is not named NAME" +
                         part_name("", given.number + 1, given.count) +
                         ", so that the other parts cannot be found; give all parts their names");
  }
  TROUPE_RETURN_IF_ERROR(check_name(given, *name));
  std::vector<Part> parts;
  for (std::uint64_t number = 1; number <= name->count; ++number) {
    const fs::path beside = path.parent_path() / part_name(name->stem, number, name->count);
    Result<Part> part = open_part(beside);
    if (!part.is_ok() && part.code() == Code::kNotFound) {
      return Status(Code::kNotFound, beside.string() + " is missing: it is part " +
                                         std::to_string(number) + " of the " +
                                         std::to_string(name->count) + " that " + path.string() +
                                         " is one of; fetch it, too");
    }
    if (!part.is_ok()) return part.status();
    name->number = number;
    TROUPE_RETURN_IF_ERROR(check_name(*part, *name));
    if (!parts.empty()) TROUPE_RETURN_IF_ERROR(check_together(parts.front(), *part));
    parts.push_back(std::move(*part));
  }
  TROUPE_RETURN_IF_ERROR(check_tensors(parts));
  auto model = std::make_unique<SplitModel>(std::move(parts));
  TROUPE_RETURN_IF_ERROR(model->make_header());
  return std::unique_ptr<WholeModel>(std::move(model));
}

std::uint64_t gguf_parts(const std::string& file_name) {
  const std::optional<PartName> name = parse_part_name(file_name);
  return name.has_value() ? name->count : 1;
}

std::vector<fs::path> gguf_files(const fs::path& path) {
  const std::optional<PartName> name = parse_part_name(path.filename().string());
  if (!name.has_value()) return {path};
  std::vector<fs::path> files;
  std::error_code error;
  for (std::uint64_t number = 1; number <= name->count; ++number) {
    fs::path beside = path.parent_path() / part_name(name->stem, number, name->count);
    if (number == name->number || fs::exists(beside, error)) files.push_back(std::move(beside));
  }
  return files;
}

}  // namespace troupe::model
