#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <set>
#include <utility>

#include <troupe/model/files/safetensors.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/known_files.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "tensors are read in place");

// A tensor takes about 150 bytes of the header.
constexpr JsonLimits kHeaderLimits{std::size_t{32} << 20, 8};
constexpr JsonLimits kIndexLimits{
    .bytes_max = std::size_t{32} << 20, .depth_max = 8, .python = true};
constexpr std::size_t kDimensionsMax = 8;
constexpr std::uint64_t kShapeElementsMax = std::uint64_t{1} << 60;
constexpr std::size_t kShardsMax = 4096;

struct DType {
  std::string_view name;
  std::uint64_t bytes;
  std::optional<quant::Type> type;
};
constexpr DType kDTypes[] = {
    {"F32", 4, quant::Type::kF32},
    {"F16", 2, quant::Type::kF16},
    {"BF16", 2, quant::Type::kBF16},
    {"F64", 8, std::nullopt},
    {"I64", 8, std::nullopt},
    {"U64", 8, std::nullopt},
    {"I32", 4, std::nullopt},
    {"U32", 4, std::nullopt},
    {"I16", 2, std::nullopt},
    {"U16", 2, std::nullopt},
    {"I8", 1, std::nullopt},
    {"U8", 1, std::nullopt},
    {"BOOL", 1, std::nullopt},
    {"F8_E8M0", 1, std::nullopt},
    {"F8_E4M3", 1, quant::Type::kF8_E4M3},
    {"F8_E5M2", 1, quant::Type::kF8_E5M2},
};

Status bad(const std::string& what, const std::string& sentence) {
  return Status(Code::kBadData, what + ": " + sentence);
}

// Reports something that no writer writes.
Status malformed(const std::string& what, const std::string& sentence) {
  return bad(what, sentence + "; take another file of the model");
}

std::string short_text(const json& value) {
  return in_quotes(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

Result<std::vector<std::uint64_t>> read_integers(const json& entry, const char* field,
                                                 const std::string& tensor,
                                                 const std::string& what) {
  const auto found = entry.find(field);
  if (found == entry.end() || !found->is_array() || found->size() > kDimensionsMax)
    return malformed(what, std::string("the field \"") + field + "\" of " + tensor +
                               " is missing or not a list of at most " +
                               std::to_string(kDimensionsMax) + " numbers");
  std::vector<std::uint64_t> values;
  for (const json& value : *found) {
    if (!value.is_number_unsigned())
      return malformed(what, std::string("the field \"") + field + "\" of " + tensor + " holds " +
                                 short_text(value) + ", expected an integer from 0 on");
    values.push_back(value.get<std::uint64_t>());
  }
  return values;
}

// Reads one entry of the header. The offset in the result counts from the start of the data.
Result<SafetensorsTensor> read_entry(const std::string& name, const json& entry,
                                     std::uint64_t data_bytes, const std::string& what) {
  const std::string tensor = "tensor " + in_quotes(name);
  if (name.empty() || !entry.is_object())
    return malformed(what,
                     tensor + " is described by " + short_text(entry) + ", expected an object");
  SafetensorsTensor out;
  out.name = name;
  const auto dtype = entry.find("dtype");
  const DType* known = nullptr;
  for (const DType& candidate : kDTypes)
    if (dtype != entry.end() && dtype->is_string() &&
        dtype->get_ref<const std::string&>() == candidate.name)
      known = &candidate;
  if (known == nullptr)
    return bad(what, tensor + " has the dtype " +
                         (dtype == entry.end() ? "none" : short_text(*dtype)) +
                         ", which this version does not know; take the weights in F32, F16, BF16, "
                         "F8_E4M3 or F8_E5M2, or a GGUF file of the model");
  out.dtype = known->name;
  out.type = known->type;
  TROUPE_ASSIGN_OR_RETURN(out.shape, read_integers(entry, "shape", tensor, what));
  std::uint64_t elements = 1;
  for (const std::uint64_t size : out.shape) {
    if (size > kShapeElementsMax || (elements != 0 && size > kShapeElementsMax / elements))
      return malformed(what, "a dimension of " + tensor + " is " + std::to_string(size) +
                                 ", which makes it too large to be real");
    elements *= size;
  }
  TROUPE_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> range,
                          read_integers(entry, "data_offsets", tensor, what));
  if (range.size() != 2 || range[0] > range[1] || range[1] > data_bytes)
    return malformed(
        what, "the data_offsets of " + tensor + " are " + short_text(entry.at("data_offsets")) +
                  ", expected a range within the " + std::to_string(data_bytes) + " bytes of data");
  out.offset = range[0];
  out.bytes = range[1] - range[0];
  if (out.bytes != elements * known->bytes)
    return malformed(what, tensor + " has " + std::to_string(out.bytes) +
                               " bytes, but its shape and dtype ask for " +
                               std::to_string(elements * known->bytes));
  return out;
}

Status check_layout(std::vector<SafetensorsTensor>* tensors, std::uint64_t data_bytes,
                    const std::string& what) {
  std::sort(tensors->begin(), tensors->end(), [](const auto& a, const auto& b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
  std::uint64_t at = 0;
  for (const SafetensorsTensor& tensor : *tensors) {
    if (tensor.offset != at)
      return malformed(what, "tensor " + in_quotes(tensor.name) + " begins at byte " +
                                 std::to_string(tensor.offset) + " of the data, where " +
                                 (tensor.offset < at ? "another tensor lies until byte "
                                                     : "a gap lies since byte ") +
                                 std::to_string(at));
    at += tensor.bytes;
  }
  if (at != data_bytes)
    return malformed(what, "the tensors end at byte " + std::to_string(at) +
                               " of the data, which has " + std::to_string(data_bytes) + " bytes");
  return Status::ok();
}

// Returns the shards that an index names. They must be plain names of files beside it.
Result<std::set<std::string>> shards_of(const json& index, const std::string& what) {
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || map == index.end() || !map->is_object() || map->empty())
    return bad(what,
               "has no \"weight_map\" that says which tensor lies in which file; take the "
               "file from where the weights are from");
  std::set<std::string> files;
  for (const auto& [tensor, file] : map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    const bool plain = !name.empty() && name.find('/') == name.npos && name[0] != '.' &&
                       name.find('\0') == name.npos;
    if (!plain || !name.ends_with(".safetensors"))
      return bad(what, "the file of tensor " + in_quotes(tensor) + " is " + short_text(file) +
                           ", expected the name of a .safetensors file in the same folder; take "
                           "the file from where the weights are from");
    files.insert(name);
    if (files.size() > kShardsMax)
      return bad(what, "lists more than " + std::to_string(kShardsMax) + " files");
  }
  return files;
}

constexpr const char* kSingleName = "model.safetensors";
constexpr const char* kIndexName = "model.safetensors.index.json";

// Says what a folder has instead of weights that can be read, and what to do.
Status no_weights(const fs::path& folder) {
  std::set<std::string> shards, alone, others;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const auto ends = [&](const char* with) { return name.ends_with(with); };
    if (ends(".safetensors")) (name.find("-of-") != name.npos ? shards : alone).insert(name);
    if (ends(".bin") || ends(".h5") || ends(".msgpack") || ends(".onnx") || ends(".pth") ||
        ends(".pt") || ends(".ckpt") || ends(".npz"))
      others.insert(name);
  }
  const std::string begin = folder.string() + " has neither " + kSingleName + " nor " + kIndexName;
  std::string more = "; give a folder in which one of them lies, or a GGUF file";
  if (!shards.empty()) {
    more = ", but " + *shards.begin() +
           "; take the index, and the other files that it names, from where this one is from";
  } else if (!alone.empty()) {
    more = ", but " + *alone.begin() +
           "; if its tensors have the names that transformers gives them, rename it to " +
           kSingleName;
  } else if (!others.empty()) {
    more = ", but " + *others.begin() +
           ", which Troupe cannot read; convert it: load the folder with transformers "
           "(from_pretrained) and save it (save_pretrained), or take a GGUF file of the model";
  }
  return Status(Code::kNotFound, begin + more);
}

Result<json> read_index(const fs::path& path) {
  TROUPE_ASSIGN_OR_RETURN(const std::string text, read_file(path, kIndexLimits.bytes_max));
  return parse_json(text, path.string(), kIndexLimits);
}

}  // namespace

Result<std::vector<SafetensorsTensor>> parse_safetensors_header(std::span<const std::byte> bytes,
                                                                std::uint64_t file_bytes,
                                                                const std::string& what) {
  TROUPE_CHECK(bytes.size() <= file_bytes, what);
  std::uint64_t header_bytes = 0;
  if (bytes.size() < sizeof header_bytes)
    return malformed(
        what, "is not a safetensors file: it has only " + std::to_string(file_bytes) + " bytes");
  std::memcpy(&header_bytes, bytes.data(), sizeof header_bytes);
  if (header_bytes > bytes.size() - sizeof header_bytes) {
    constexpr std::size_t kBeginBytes = 256;
    const std::string known =
        describe_known_file({reinterpret_cast<const char*>(bytes.data()),
                             std::min<std::size_t>(bytes.size(), kBeginBytes)});
    const bool has_json =
        bytes.size() > sizeof header_bytes && bytes[sizeof header_bytes] == std::byte{'{'};
    if (!known.empty() && !has_json) return bad(what, known);
    return malformed(what, "is not a safetensors file or is cut off: its header should have " +
                               std::to_string(header_bytes) + " bytes, the file has " +
                               std::to_string(file_bytes));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + sizeof header_bytes,
                              header_bytes);
  TROUPE_ASSIGN_OR_RETURN(const json header,
                          parse_json(text, "the header of " + what, kHeaderLimits));
  if (!header.is_object()) return malformed(what, "the header is not a JSON object");
  const std::uint64_t data_begin = sizeof header_bytes + header_bytes;
  const std::uint64_t data_bytes = file_bytes - data_begin;
  std::vector<SafetensorsTensor> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    TROUPE_ASSIGN_OR_RETURN(SafetensorsTensor tensor, read_entry(name, entry, data_bytes, what));
    tensors.push_back(std::move(tensor));
  }
  TROUPE_RETURN_IF_ERROR(check_layout(&tensors, data_bytes, what));
  for (SafetensorsTensor& tensor : tensors) tensor.offset += data_begin;
  return tensors;
}

Status Safetensors::add_file(const fs::path& path) {
  TROUPE_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
  TROUPE_ASSIGN_OR_RETURN(
      std::vector<SafetensorsTensor> found,
      parse_safetensors_header(file.bytes(), file.bytes().size(), path.string()));
  for (SafetensorsTensor& tensor : found) {
    if (!by_name_.emplace(tensor.name, tensors_.size()).second)
      return bad(path.string(), "tensor " + in_quotes(tensor.name) + " is in another file, too");
    tensors_.push_back(std::move(tensor));
    file_index_.push_back(files_.size());
  }
  files_.push_back(std::move(file));
  paths_.push_back(path);
  return Status::ok();
}

Result<Safetensors> Safetensors::open_file(const fs::path& path) {
  Safetensors out;
  TROUPE_RETURN_IF_ERROR(out.add_file(path));
  return out;
}

Result<Safetensors> Safetensors::open_folder(const fs::path& folder) {
  TROUPE_ASSIGN_OR_RETURN(const std::vector<fs::path> files, safetensors_files(folder));
  Safetensors out;
  for (const fs::path& path : files)
    if (path.filename() != kIndexName) TROUPE_RETURN_IF_ERROR(out.add_file(path));
  return out;
}

Result<std::vector<fs::path>> safetensors_files(const fs::path& folder) {
  std::error_code error;
  if (fs::is_regular_file(folder / kSingleName, error))
    return std::vector<fs::path>{folder / kSingleName};
  const fs::path index_path = folder / kIndexName;
  if (!fs::is_regular_file(index_path, error)) return no_weights(folder);
  TROUPE_ASSIGN_OR_RETURN(const json index, read_index(index_path));
  TROUPE_ASSIGN_OR_RETURN(const std::set<std::string> shards,
                          shards_of(index, index_path.string()));
  std::vector<fs::path> files{index_path};
  for (const std::string& shard : shards) {
    files.push_back(folder / shard);
    if (fs::exists(files.back(), error)) continue;
    return Status(Code::kNotFound, folder.string() + " has no " + shard + ", which its " +
                                       kIndexName +
                                       " names; take this file from where the others are from");
  }
  return files;
}

const SafetensorsTensor* Safetensors::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

const MappedFile& Safetensors::file_of(const SafetensorsTensor& tensor) const {
  const auto index = static_cast<std::size_t>(&tensor - tensors_.data());
  TROUPE_CHECK(index < tensors_.size(), tensor.name);
  return files_[file_index_[index]];
}

std::span<const std::byte> Safetensors::bytes(const SafetensorsTensor& tensor) const {
  return file_of(tensor).bytes().subspan(tensor.offset, tensor.bytes);
}

const fs::path& Safetensors::path(const SafetensorsTensor& tensor) const {
  const auto index = static_cast<std::size_t>(&tensor - tensors_.data());
  return paths_[file_index_[index]];
}

void Safetensors::drop(const SafetensorsTensor& tensor) const {
  file_of(tensor).drop_pages(tensor.offset, tensor.bytes);
}

void Safetensors::drop_range(std::span<const std::byte> range) const {
  for (const MappedFile& file : files_) {
    const std::span<const std::byte> all = file.bytes();
    const std::less_equal<const std::byte*> before;
    if (before(all.data(), range.data()) &&
        before(range.data() + range.size(), all.data() + all.size()))
      file.drop_pages(static_cast<std::size_t>(range.data() - all.data()), range.size());
  }
}

Status write_safetensors(const fs::path& path, std::span<const F32Tensor> tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  std::uint64_t at = 0;
  for (const F32Tensor& tensor : tensors) {
    std::uint64_t elements = 1;
    for (const std::uint64_t size : tensor.shape) elements *= size;
    TROUPE_CHECK(elements == tensor.values.size(), tensor.name);
    header[tensor.name] = {{"dtype", "F32"},
                           {"shape", tensor.shape},
                           {"data_offsets", {at, at + tensor.values.size_bytes()}}};
    at += tensor.values.size_bytes();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t header_bytes = text.size();
  std::string content(reinterpret_cast<const char*>(&header_bytes), sizeof header_bytes);
  content.reserve(sizeof header_bytes + text.size() + at);
  content += text;
  for (const F32Tensor& tensor : tensors)
    content.append(reinterpret_cast<const char*>(tensor.values.data()), tensor.values.size_bytes());
  return write_file_atomically(path, content);
}

}  // namespace troupe::model
