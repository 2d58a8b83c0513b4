#pragma once

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <unistd.h>

#include <troupe/tests/model/files/gguf_builder.h>
#include <troupe/tests/model/transformer/memory_model.h>

// GGUF files of random models, whole or in parts, for tests that read files.

namespace troupe::model::test {

// A folder that is removed when the object is destroyed.
struct TestFolder {
  TestFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "troupe_gguf_test.XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~TestFolder() {
    std::error_code error;
    std::filesystem::remove_all(path, error);
  }
  std::filesystem::path write(const std::string& name, const std::string& content) const {
    std::ofstream(path / name, std::ios::binary) << content;
    return path / name;
  }
  std::filesystem::path path;
};

// The key-values of a model and their number: a Llama's unless a test changes something.
struct Entries {
  troupe::test::GgufBuilder bytes;
  std::uint64_t count = 0;
  template <class T>
  Entries& add(std::string_view key, std::uint32_t type, T value) {
    bytes.entry<T>(key, type, value);
    ++count;
    return *this;
  }
  Entries& add(std::string_view key, std::string_view value) {
    bytes.entry(key, value);
    ++count;
    return *this;
  }
};

constexpr std::uint32_t kU16 = 2, kU32 = 4, kI32 = 5, kFloat = 6;

inline Entries llama_entries(const ModelConfig& config) {
  Entries entries;
  entries.add("general.architecture", "llama").add("general.name", "random");
  const std::pair<const char*, std::size_t> numbers[] = {
      {"llama.block_count", config.layers},
      {"llama.context_length", config.context_max},
      {"llama.embedding_length", config.channels},
      {"llama.feed_forward_length", config.ffn_channels},
      {"llama.attention.head_count", config.heads},
      {"llama.attention.head_count_kv", config.kv_heads}};
  for (const auto& [key, value] : numbers)
    entries.add(key, kU32, static_cast<std::uint32_t>(value));
  entries.add("llama.attention.layer_norm_rms_epsilon", kFloat, config.norm_epsilon);
  return entries;
}

// Returns a file of the tensors [begin, end) of `source`, in its order, as writers lay it out.
inline std::string gguf_file(const MemorySource& source, const Entries& entries, std::size_t begin,
                             std::size_t end, std::size_t alignment = 32) {
  troupe::test::GgufBuilder file;
  file.head(end - begin, entries.count).raw(entries.bytes.bytes());
  std::uint64_t at = 0;
  for (std::size_t i = begin; i < end; ++i) {
    const TensorInfo& tensor = source.header_.tensors[i];
    file.tensor(tensor.name, {tensor.shape.rbegin(), tensor.shape.rend()},
                static_cast<std::uint32_t>(tensor.type), at);
    at = (at + tensor.bytes + alignment - 1) / alignment * alignment;
  }
  file.pad(alignment);
  for (std::size_t i = begin; i < end; ++i) {
    const auto bytes = *source.bytes(source.header_.tensors[i].name);
    file.raw({reinterpret_cast<const char*>(bytes.data()), bytes.size()}).pad(alignment);
  }
  return file.bytes();
}

inline std::string gguf_file(const Model& model) {
  return gguf_file(model.source, llama_entries(model.config), 0,
                   model.source.header_.tensors.size());
}

inline std::string part_name(std::size_t number, std::size_t count) {
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.gguf", number, count);
  return name;
}

inline void add_split_keys(Entries* entries, std::size_t number, std::size_t count,
                           std::size_t tensors) {
  entries->add("split.no", kU16, static_cast<std::uint16_t>(number))
      .add("split.count", kU16, static_cast<std::uint16_t>(count))
      .add("split.tensors.count", kI32, static_cast<std::int32_t>(tensors));
}

// Writes the model in `count` files as gguf-split does: the first has the model's key-values.
inline std::vector<std::string> gguf_parts(const Model& model, std::size_t count,
                                           const Entries& entries, std::size_t alignment = 32) {
  const std::size_t tensors = model.source.header_.tensors.size();
  std::vector<std::string> files;
  for (std::size_t number = 0; number < count; ++number) {
    Entries own;
    if (number == 0) own = entries;
    add_split_keys(&own, number, count, tensors);
    files.push_back(gguf_file(model.source, own, tensors * number / count,
                              tensors * (number + 1) / count, number == 0 ? alignment : 32));
  }
  return files;
}

}  // namespace troupe::model::test
