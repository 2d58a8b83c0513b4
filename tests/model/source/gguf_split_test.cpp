#include <catch2/catch.hpp>

#include <troupe/model/config/tensor_specs.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/source/gguf_split.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/store/store.h>
#include <troupe/tests/model/files/gguf_files.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

Model small_model() {
  return random_model(odd_config(false), quant::Type::kQ4_1, quant::Type::kF16);
}

std::vector<fs::path> write_parts(const TestFolder& folder, const std::vector<std::string>& parts) {
  std::vector<fs::path> paths;
  for (std::size_t i = 0; i < parts.size(); ++i)
    paths.push_back(folder.write(part_name(i + 1, parts.size()), parts[i]));
  return paths;
}

std::vector<float> logits_of(const TensorSource& source, std::vector<LayerRange> ranges) {
  const auto device = make_device(2);
  const auto config = config_from_gguf(source.header());
  INFO(config.message());
  REQUIRE(config.is_ok());
  std::vector<std::unique_ptr<Stage>> stages;
  for (const LayerRange range : ranges)
    stages.push_back(load_stage(source, *config, range, *device));
  return all_logits(stages, random_ids(20, config->vocabulary, 3), 20);
}

std::string whole_file(const WholeModel& model, std::uint64_t step) {
  std::string out;
  while (out.size() < model.file_bytes()) {
    const auto piece = model.piece(out.size(), step);
    REQUIRE_FALSE(piece.empty());
    REQUIRE(piece.size() <= step);
    out.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  REQUIRE(model.piece(out.size(), step).empty());
  return out;
}

}  // namespace

TEST_CASE("a model in parts is the file that it was cut from, bit for bit") {
  const Model model = small_model();
  for (const std::size_t alignment : {32, 4096}) {
    Entries entries = llama_entries(model.config);
    if (alignment != 32)
      entries.add("general.alignment", kU32, static_cast<std::uint32_t>(alignment));
    const std::string whole =
        gguf_file(model.source, entries, 0, model.source.header_.tensors.size(), alignment);
    const TestFolder folder;
    const fs::path whole_path = folder.write("whole.gguf", whole);
    const auto original = *open_model(whole_path.string());
    const auto expected = logits_of(*original, {{0, 5}});
    const auto store = *Store::open(folder.path / "home");
    const std::string hash = store->manifest(whole_path)->model;
    for (const std::size_t count : {1, 2, 3, 7}) {
      const auto paths = write_parts(folder, gguf_parts(model, count, entries, alignment));
      for (const fs::path& path : paths) {  // any part opens the whole model
        INFO(path.filename() << ", alignment " << alignment);
        const auto parts = open_model(path.string());
        INFO(parts.message());
        REQUIRE(parts.is_ok());
        REQUIRE(logits_of(**parts, {{0, 5}}) == expected);
        REQUIRE(logits_of(**parts, {{0, 2}, {2, 5}}) == expected);
        REQUIRE(model_files(path)->size() == count);
        if (count == 1) continue;  // such a file is whole, and its keys belong to it
        REQUIRE(whole_file(**parts, 1 << 20) == whole);
        REQUIRE(whole_file(**parts, 1000) == whole);
        REQUIRE(store->manifest(path)->model == hash);
        (*parts)->drop_piece((*parts)->piece(whole.size() / 2, 5000));
        (*parts)->drop("blk.0.attn_q.weight");
        REQUIRE(whole_file(**parts, 1 << 16) == whole);
        REQUIRE((*parts)->bytes("blk.9.x").code() == Code::kNotFound);
      }
    }
  }
}

TEST_CASE("the first part may have no tensors, and what gguf-split merged is whole") {
  const Model model = small_model();
  const std::size_t tensors = model.source.header_.tensors.size();
  const TestFolder folder;
  Entries first = llama_entries(model.config), second;
  add_split_keys(&first, 0, 2, tensors);
  add_split_keys(&second, 1, 2, tensors);
  folder.write(part_name(1, 2), gguf_file(model.source, first, 0, 0));
  const fs::path path = folder.write(part_name(2, 2), gguf_file(model.source, second, 0, tensors));
  const fs::path whole_path = folder.write("whole.gguf", gguf_file(model));
  const auto expected = logits_of(**open_model(whole_path.string()), {{0, 5}});
  REQUIRE(logits_of(**open_model(path.string()), {{0, 5}}) == expected);
  Entries merged = llama_entries(model.config);  // --merge leaves the keys, with a count of 0
  add_split_keys(&merged, 0, 0, tensors);
  const auto whole =
      open_model(folder.write("merged.gguf", gguf_file(model.source, merged, 0, tensors)).string());
  INFO(whole.message());
  REQUIRE(whole.is_ok());
  CHECK(logits_of(**whole, {{0, 5}}) == expected);
}

TEST_CASE("parts that do not make a model are refused with the file and what to do") {
  const Model model = small_model();
  const Entries entries = llama_entries(model.config);
  const std::size_t tensors = model.source.header_.tensors.size();
  const auto parts = gguf_parts(model, 3, entries);
  const TestFolder folder;
  const auto paths = write_parts(folder, parts);
  const auto refused = [&](const fs::path& path, Code code, const std::string& file,
                           const std::string& said) {
    const auto opened = open_model(path.string());
    INFO(opened.message());
    REQUIRE_FALSE(opened.is_ok());
    CHECK(opened.code() == code);
    CHECK_THAT(opened.message(), Contains(file) && Contains(said));
    CHECK(opened.message().find('\n') == std::string::npos);
  };
  const auto part_with = [&](std::size_t number, std::size_t count, std::size_t begin,
                             std::size_t end, const Entries& more) {
    Entries own = more;
    add_split_keys(&own, number, count, tensors);
    return gguf_file(model.source, own, begin, end);
  };
  const std::string second = part_name(2, 3), third = part_name(3, 3);

  SECTION("one is missing") {
    fs::remove(paths[1]);
    for (const fs::path& path : {paths[0], paths[2]})
      refused(path, Code::kNotFound, second, "part 2 of the 3");
    CHECK(model_files(paths[0])->size() == 2);
  }
  SECTION("one is damaged") {
    folder.write(second, parts[1].substr(0, parts[1].size() / 2));
    refused(paths[0], Code::kBadData, second, "cut off");
    folder.write(second, "no model");
    refused(paths[0], Code::kBadData, second, "GGUF");
    folder.write(second, gguf_file(model));
    refused(paths[0], Code::kBadData, second, "'split.no' is missing");
  }
  SECTION("their names were changed") {
    folder.write(second, parts[2]);
    folder.write(third, parts[1]);
    refused(paths[0], Code::kBadData, second, "'split.no' is 2");
    refused(paths[1], Code::kBadData, second, "the name says part 2 of 3");
    const fs::path renamed = folder.write("renamed.gguf", parts[0]);
    refused(renamed, Code::kBadData, "renamed.gguf", "NAME-00001-of-00003.gguf");
    refused(folder.write(part_name(1, 4), parts[0]), Code::kBadData, part_name(1, 4),
            "'split.count' 3");
  }
  SECTION("they are of different models") {
    folder.write(second, part_with(1, 3, tensors / 3, tensors * 2 / 3,
                                   Entries().add("general.name", "another")));
    refused(paths[0], Code::kBadData, second, "'general.name'");
    Entries other;
    other.add("split.no", kU16, std::uint16_t{1})
        .add("split.count", kU16, std::uint16_t{3})
        .add("split.tensors.count", kI32, static_cast<std::int32_t>(tensors + 5));
    folder.write(second, gguf_file(model.source, other, tensors / 3, tensors * 2 / 3));
    refused(paths[0], Code::kBadData, second, "'split.tensors.count'");
  }
  SECTION("a tensor is in two of them, or in none") {
    folder.write(second, part_with(1, 3, tensors / 3 - 1, tensors * 2 / 3, {}));
    refused(paths[2], Code::kBadData, second,
            "tensor '" + model.source.header_.tensors[tensors / 3 - 1].name + "' is in ");
    folder.write(second, part_with(1, 3, tensors / 3 + 1, tensors * 2 / 3, {}));
    refused(paths[2], Code::kBadData, part_name(1, 3),
            "have " + std::to_string(tensors - 1) + " tensors");
  }
  SECTION("their keys are of another type") {
    Entries text = entries;
    text.add("split.count", "three");
    refused(folder.write(part_name(1, 3), gguf_file(model.source, text, 0, tensors / 3)),
            Code::kBadData, part_name(1, 3), "'split.count' is not an integer");
  }
  SECTION("one of them is not a model for the store") {
    const auto store = *Store::open(folder.path / "home");
    const auto entry = store->import_model(paths[0], "part", std::nullopt);
    CHECK(entry.code() == Code::kBadData);
    CHECK_THAT(entry.message(), Contains("one of the 3 parts"));
  }
}

TEST_CASE("the layers of a model in parts can be fetched as blobs and give the same bits") {
  const Model model = small_model();
  const TestFolder folder;
  const auto paths = write_parts(folder, gguf_parts(model, 3, llama_entries(model.config)));
  const auto here = *Store::open(folder.path / "here"), there = *Store::open(folder.path / "there");
  const auto manifest = here->manifest(paths[1]);
  INFO(manifest.message());
  REQUIRE(manifest.is_ok());
  here->adopt(*manifest, paths[1]);
  const auto whole = *here->source(*manifest);
  const auto parts = *open_model(paths[0].string());
  const auto send = [&](const BlobRef& blob, std::uint64_t offset) {
    if (there->has_blob(blob.sha256)) return;
    const auto piece = parts->piece(offset, blob.bytes);
    REQUIRE(piece.size() == blob.bytes);
    const auto writer = *there->begin_blob(blob);
    REQUIRE(writer->append(piece).is_ok());
    REQUIRE(writer->commit().is_ok());
  };
  send(manifest->header, 0);
  const auto source = *there->source(*manifest);
  const auto config = *config_from_gguf(source->header());
  const auto names = tensors_of(config, {2, 5});
  REQUIRE(there->missing(*manifest, names).size() > 20);
  for (const auto& tensor : manifest->tensors)
    if (std::find(names.begin(), names.end(), tensor.name) != names.end())
      send(tensor.blob, tensor.offset);
  REQUIRE(there->missing(*manifest, names).empty());
  const auto device = make_device(2);
  std::vector<std::unique_ptr<Stage>> stages;
  stages.push_back(load_stage(*whole, config, {0, 2}, *device));
  stages.push_back(load_stage(*source, config, {2, 5}, *device));
  const auto ids = random_ids(20, config.vocabulary, 3);
  CHECK(all_logits(stages, ids, 20) == logits_of(*whole, {{0, 5}}));
}
