#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include <catch2/catch.hpp>

#include <troupe/model/families/read_config.h>
#include <troupe/model/files/gguf_reader.h>
#include <troupe/model/files/gguf_writer.h>
#include <troupe/model/files/hf_config.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/numerics/half.h>
#include <troupe/tests/model/files/gguf_files.h>
#include <troupe/tests/runtime/quant/scale_place.h>

// The ways in which a model's files can be wrong, one row each. The answer must be one sentence
// that names the file, the field and the value.

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

// A model file whose key-values and tensors a test changes before it is written.
struct Draft {
  GgufMetadata keys;
  std::vector<TensorInfo> tensors;
  std::map<std::string, std::vector<std::byte>> bytes;

  TensorInfo& tensor(const std::string& name) {
    for (TensorInfo& one : tensors)
      if (one.name == name) return one;
    FAIL("the draft has no tensor " << name);
    throw 0;
  }
  void erase(const std::string& name) {
    std::erase_if(tensors, [&](const TensorInfo& one) { return one.name == name; });
  }
  void rename(const std::string& from, const std::string& to) {
    bytes[to] = bytes[from];
    tensor(from).name = to;
  }
  void add(const std::string& name, std::vector<std::uint64_t> shape) {
    std::uint64_t elements = 1;
    for (const std::uint64_t size : shape) elements *= size;
    bytes[name].resize(elements * 4);
    tensors.push_back({name, quant::Type::kF32, std::move(shape), 0, elements * 4});
  }
  template <class T>
  void put(const std::string& name, std::size_t at, T value) {
    std::memcpy(bytes[name].data() + at, &value, sizeof value);
  }
  std::string file() {
    std::string out = write_gguf_header(keys, &tensors);
    for (const TensorInfo& one : tensors) {
      out.resize(one.offset, '\0');
      const std::vector<std::byte>& content = bytes[one.name];
      out.append(reinterpret_cast<const char*>(content.data()), content.size());
    }
    return out;
  }
};

std::vector<std::string> words() {
  std::vector<std::string> tokens{"<unk>", "<s>", "</s>", "a", "b", "ab"};
  while (tokens.size() < 201) tokens.push_back("t" + std::to_string(tokens.size()));
  return tokens;
}

Draft draft(quant::Type layers = quant::Type::kF32) {
  ModelConfig config = odd_config(false);
  // Every matrix gets columns that make whole blocks.
  if (quant::find(layers)->block_elements == 256) {
    config.channels = config.ffn_channels = 256;
    config.heads = 16;
  }
  const Model model = random_model(config, layers, quant::Type::kF16);
  Draft out;
  out.keys = {{"general.architecture", std::string("llama")},
              {"llama.block_count", std::uint32_t{5}},
              {"llama.context_length", std::uint32_t{1024}},
              {"llama.embedding_length", static_cast<std::uint32_t>(config.channels)},
              {"llama.feed_forward_length", static_cast<std::uint32_t>(config.ffn_channels)},
              {"llama.attention.head_count", static_cast<std::uint32_t>(config.heads)},
              {"llama.attention.head_count_kv", std::uint32_t{2}},
              {"llama.attention.key_length", std::uint32_t{16}},
              {"llama.attention.value_length", std::uint32_t{16}},
              {"llama.attention.layer_norm_rms_epsilon", 1e-5f},
              {"tokenizer.ggml.model", std::string("gpt2")},
              {"tokenizer.ggml.pre", std::string("gpt-2")},
              {"tokenizer.ggml.tokens", words()},
              {"tokenizer.ggml.merges", std::vector<std::string>{"a b"}},
              {"tokenizer.ggml.eos_token_id", std::uint32_t{2}}};
  out.tensors = model.source.header_.tensors;
  out.bytes = model.source.bytes_;
  return out;
}

Status load(const fs::path& path) {
  TROUPE_ASSIGN_OR_RETURN(const auto model, open_model(path.string()));
  TROUPE_ASSIGN_OR_RETURN(const auto config, config_from_gguf(model->header()));
  TROUPE_ASSIGN_OR_RETURN(const auto tokenizer, open_tokenizer(model->header(), config.vocabulary));
  const auto device = make_device(1);
  return Stage::load(*model, config, {0, config.layers}, *device, {}).status();
}

// Checks that a message is one sentence for a person about this file.
void check_sentence(const Status& status, const std::string& file) {
  CHECK((status.code() == Code::kBadData || status.code() == Code::kNotFound));
  CHECK_THAT(status.message(), Contains(file));
  CHECK(status.message().find('\n') == std::string::npos);
  CHECK(status.message().size() > file.size() + 20);
  CHECK(status.message().size() < file.size() + 600);
}

using Change = std::function<void(Draft&)>;
struct Case {
  Change change;
  std::vector<std::string> said;  // texts that the message must contain
};

void check_cases(const std::vector<Case>& cases) {
  const TestFolder folder;
  const fs::path path = folder.path / "model.gguf";
  folder.write("model.gguf", draft().file());
  const Status fine = load(path);
  INFO(fine.message());
  REQUIRE(fine.is_ok());
  for (const Case& one : cases) {
    Draft changed = draft();
    one.change(changed);
    folder.write("model.gguf", changed.file());
    const Status status = load(path);
    INFO(one.said.front() << ": " << status.message());
    REQUIRE_FALSE(status.is_ok());
    check_sentence(status, path.string());
    for (const std::string& said : one.said) CHECK_THAT(status.message(), Contains(said));
  }
}

Change set(const std::string& key, GgufValue value) {
  return [=](Draft& file) { file.keys[key] = value; };
}
Change erase(const std::string& key) {
  return [=](Draft& file) { file.keys.erase(key); };
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("a wrong key-value is named with its file and value") {
  using u32 = std::uint32_t;
  std::vector<Case> cases{
      {erase("general.architecture"), {"'general.architecture'", "missing"}},
      {set("general.architecture", u32{1}), {"'general.architecture'", "not a string"}},
      {set("general.architecture", std::string("ma\xffmba\n")), {"ma"}},
      {erase("llama.block_count"), {"'llama.block_count'", "missing"}},
      {set("llama.block_count", std::string("five")), {"'llama.block_count'", "integer"}},
      {set("llama.block_count", std::int32_t{-5}), {"'llama.block_count'", "-5"}},
      {set("llama.block_count", 5.0f), {"'llama.block_count'", "integer"}},
      {set("llama.block_count", std::vector<std::int64_t>{5, 6}),
       {"'llama.block_count'", "differs from layer to layer"}},
      {set("llama.block_count", u32{0}), {"number of layers", " 0"}},
      {set("llama.block_count", std::uint64_t{1} << 60),
       {"number of layers", "1152921504606846976"}},
      {set("llama.block_count", u32{4}), {"'blk.4.", "layer 4", "is 4", "take another file"}},
      {set("llama.block_count", u32{6}), {"blk.5.attn_norm.weight", "missing", "take another"}},
      {set("llama.block_count", u32{4096}), {"blk.5.attn_norm.weight", "missing"}},
      {set("llama.context_length", u32{0}), {"context length", " 0"}},
      {set("llama.embedding_length", u32{0}), {"embedding length", " 0"}},
      {set("llama.embedding_length", u32{64}), {"blk.0.attn_norm.weight", " 96,", " 64;"}},
      {set("llama.embedding_length", std::uint64_t{1} << 60), {"embedding length"}},
      {set("llama.feed_forward_length", u32{0}), {"feed-forward length", " 0"}},
      {set("llama.feed_forward_length", u32{161}), {"ffn_gate.weight", "160x96", "161x96"}},
      {set("llama.attention.head_count", u32{0}), {"llama.attention.head_count", " 0"}},
      {set("llama.attention.head_count", u32{7}), {"7 heads", "2 key/value heads"}},
      {set("llama.attention.head_count", u32{4}), {"attn_q.weight", "96x96", "64x96"}},
      {set("llama.attention.head_count_kv", u32{0}), {"key/value heads", " 0"}},
      {set("llama.attention.head_count_kv", u32{4}), {"6 heads", "4 key/value heads"}},
      {set("llama.attention.key_length", u32{0}), {"0 and values of 16"}},
      {set("llama.attention.key_length", u32{32}), {"keys of 32", "values of 16"}},
      {set("llama.expert_count", u32{8}), {"llama.expert_used_count"}},
      {set("llama.attention.layer_norm_rms_epsilon", std::string("x")),
       {"layer_norm_rms_epsilon", "number"}},
      {set("llama.rope.dimension_count", u32{15}), {"rotary dimension 15"}},
      {set("llama.rope.dimension_count", u32{1000}), {"rotary dimension 1000"}},
      {set("llama.rope.scaling.type", std::string("yarn")), {"llama.rope.scaling.factor"}},
      {set("tokenizer.ggml.model", std::string("rwkv")), {"tokenizer.ggml.model", "'rwkv'"}},
      {set("tokenizer.ggml.pre", std::string("klingon")), {"tokenizer.ggml.pre", "'klingon'"}},
      {erase("tokenizer.ggml.tokens"), {"'tokenizer.ggml.tokens'", "missing"}},
      {set("tokenizer.ggml.tokens", std::vector<std::int64_t>{1}), {"'tokenizer.ggml.tokens'"}},
      {set("tokenizer.ggml.tokens", std::vector<std::string>{}), {"tokenizer.ggml.tokens", " 0 "}},
      {set("tokenizer.ggml.merges", std::vector<std::string>{"ab"}), {"merge 0", "'ab'"}},
      {set("tokenizer.ggml.token_type", std::vector<std::int64_t>{1}), {"token_type", "1 entries"}},
      {set("split.count", std::string("x")), {"'split.count'", "integer"}},
  };
  for (const double value : {kNan, kInf, -kInf, 0.0, -1.0, 1e300}) {
    cases.push_back({set("llama.attention.layer_norm_rms_epsilon", value), {"norm epsilon"}});
    cases.push_back({set("llama.rope.freq_base", value), {"rotary base"}});
    if (value == 0.0) continue;  // a factor of 0 says that there is none
    cases.push_back({[=](Draft& file) {
                       file.keys["llama.rope.scaling.type"] = std::string("linear");
                       file.keys["llama.rope.scaling.factor"] = value;
                     },
                     {"scaling factor"}});
  }
  cases.push_back({[](Draft& file) {
                     file.keys.erase("llama.attention.key_length");
                     file.keys.erase("llama.attention.value_length");
                     file.keys["llama.attention.head_count"] = std::uint32_t{7};
                   },
                   {"llama.embedding_length", "96", "llama.attention.head_count", "7"}});
  check_cases(cases);
}

TEST_CASE("a wrong tensor is named with its file") {
  std::vector<Case> cases;
  for (const char* name : {"token_embd.weight", "output_norm.weight", "blk.0.attn_norm.weight",
                           "blk.2.ffn_up.weight", "blk.4.attn_output.weight"})
    cases.push_back(
        {[=](Draft& file) { file.erase(name); }, {name, "missing", "take another file"}});
  const std::pair<const char*, std::vector<std::string>> renamed[] = {
      {"blk.5.attn_q.weight", {"layer 5", "is 5"}},
      {"blk.18446744073709551615.attn_q.weight", {"layer 18446744073709551615"}},
      {"blk.2.attn_q.biass", {"'blk.2.attn_q.biass'"}},
      {"output_surprise", {"'output_surprise'"}},
      {"blk.2", {"'blk.2'"}},
      {"blk.x.y", {"'blk.x.y'"}}};
  for (const auto& [name, said] : renamed)
    cases.push_back({[to = name](Draft& file) { file.add(to, {96}); }, said});
  cases.push_back(
      {[](Draft& file) { file.add("blk.3.attn_q.bias", {96}); }, {"'blk.3.attn_q.bias'", "llama"}});
  cases.push_back({[](Draft& file) {
                     file.tensor("blk.1.attn_k.weight").shape = {96, 32};
                   },
                   {"blk.1.attn_k.weight", "96x32", "32x96"}});
  cases.push_back({[](Draft& file) { file.tensor("blk.1.attn_k.weight").shape = {32 * 96}; },
                   {"blk.1.attn_k.weight", "3072", "32x96"}});
  cases.push_back({[](Draft& file) {
                     file.tensor("blk.1.attn_norm.weight").shape = {2, 48};
                   },
                   {"blk.1.attn_norm.weight", "2x48", "96"}});
  cases.push_back({[](Draft& file) {
                     TensorInfo& norm = file.tensor("blk.1.attn_norm.weight");
                     norm.type = quant::Type::kQ8_0;
                     norm.bytes = 3 * 34;
                     file.bytes[norm.name].resize(norm.bytes);
                   },
                   {"blk.1.attn_norm.weight", "Q8_0"}});
  check_cases(cases);
}

TEST_CASE("a weight that is not a number is named with its tensor and file") {
  std::vector<Case> cases;
  for (const double value : {kNan, kInf, -kInf}) {
    const auto number = static_cast<float>(value);
    const std::uint16_t half = f32_to_f16(number);
    cases.push_back({[=](Draft& file) { file.put("output_norm.weight", 95 * 4, number); },
                     {"output_norm.weight", "95"}});
    cases.push_back({[=](Draft& file) { file.put("blk.3.ffn_down.weight", 4 * 160 * 95, number); },
                     {"blk.3.ffn_down.weight", "F32"}});
    cases.push_back({[=](Draft& file) { file.put("token_embd.weight", 2 * 96 * 200, half); },
                     {"token_embd.weight", "F16"}});
  }
  check_cases(cases);
  // Damage the last block in every format where its scales lie.
  const TestFolder folder;
  for (const quant::Format& format : quant::formats()) {
    if (format.block_elements == 1 || format.type == quant::Type::kMXFP4) continue;
    const std::size_t scale = quant::scale_place(format.type);
    for (const std::size_t at : {scale, scale + (format.has_m ? 2 : 0)}) {
      Draft file = draft(format.type);
      auto& bytes = file.bytes["blk.4.ffn_up.weight"];
      file.put("blk.4.ffn_up.weight", bytes.size() - format.block_bytes + at,
               std::uint16_t{0x7e00});
      const Status status = load(folder.write("model.gguf", file.file()));
      INFO(format.name << ": " << status.message());
      check_sentence(status, "model.gguf");
      CHECK_THAT(status.message(), Contains("blk.4.ffn_up.weight") &&
                                       Contains(std::string(format.name)) && Contains("finite"));
    }
  }
}

TEST_CASE("a model file cut at any byte of its header, and at some of its data, says so") {
  const TestFolder folder;
  const std::string whole = draft().file();
  const std::size_t header =
      parse_gguf_header(std::as_bytes(std::span(whole.data(), whole.size())), whole.size(), "x")
          ->header_bytes;
  const fs::path path = folder.path / "model.gguf";
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += bytes < header ? 1 : 9973) {
    fs::remove(path);
    folder.write("model.gguf", whole.substr(0, bytes));
    const auto opened = open_model(path.string());
    INFO(bytes << ": " << opened.message());
    REQUIRE_FALSE(opened.is_ok());
    check_sentence(opened.status(), path.string());
    CHECK_THAT(opened.message(), Contains("fetch it again"));
  }
}

TEST_CASE("a folder whose files are cut at any byte of their headers says which") {
  const TestFolder folder;
  const fs::path tiny = TROUPE_TEST_DATA "/golden/tiny/llama";
  std::string config = *read_file(tiny / "config.json", 1 << 20);
  config.resize(config.find_last_of('}') + 1);
  const std::string weights = *read_file(tiny / "model.safetensors", 1 << 24);
  const std::string tokenizer = R"({"added_tokens":[{"id":1,"content":"<s>","special":true}],)"
                                R"("model":{"type":"BPE","vocab":{"a":0,"<s>":1,"b":2,"ab":3},)"
                                R"("merges":[["a","b"]]}})";
  const std::string index = R"({"weight_map":{"a":"model-1.safetensors"}})";
  const std::pair<const char*, std::string> files[] = {
      {"config.json", config},
      {"model.safetensors", weights},
      {"tokenizer.json", tokenizer},
      {"tokenizer_config.json", R"({"bos_token":"<s>"})"},
      {"generation_config.json", R"({"eos_token_id":2})"}};
  const auto restore = [&] {
    for (const auto& [name, content] : files) folder.write(name, content);
  };
  restore();
  REQUIRE(load(folder.path).message() == "");
  for (const auto& [name, content] : files) {
    std::size_t header = content.size();
    if (content == weights) std::memcpy(&header, weights.data(), 4);
    for (std::size_t bytes = 0; bytes < content.size(); bytes += bytes < header + 16 ? 1 : 4999) {
      if (bytes == 0 && std::string(name) == "tokenizer_config.json")
        continue;  // an empty file counts as absent
      folder.write(name, content.substr(0, bytes));
      const Status status = load(folder.path);
      INFO(name << " cut at " << bytes << ": " << status.message());
      REQUIRE_FALSE(status.is_ok());
      check_sentence(status, name);
      CHECK_THAT(status.message(), Contains(folder.path.string()));
    }
    for (const std::string& wrong : {std::string(10000, '['), "{\"a\":" + std::string(10000, '{'),
                                     std::string("\xff\xfe\x00", 3), std::string("[]"),
                                     std::string("{\"a\":1,}"), std::string(64, '\0')}) {
      if (content == weights) break;
      folder.write(name, wrong);
      const Status status = load(folder.path);
      INFO(name << " is " << wrong.substr(0, 20) << ": " << status.message());
      REQUIRE_FALSE(status.is_ok());
      check_sentence(status, name);
    }
    restore();
  }
  fs::remove(folder.path / "model.safetensors");
  for (std::size_t bytes = 0; bytes <= index.size(); ++bytes) {
    folder.write("model.safetensors.index.json", index.substr(0, bytes));
    const Status status = load(folder.path);
    INFO("the index cut at " << bytes << ": " << status.message());
    REQUIRE_FALSE(status.is_ok());
    check_sentence(status, bytes == index.size() ? "model-1.safetensors" : "index.json");
  }
  // A link that leads to itself.
  fs::create_symlink("model.safetensors", folder.path / "model.safetensors");
  fs::remove(folder.path / "model.safetensors.index.json");
  CHECK_THAT(load(folder.path).message(), Contains("model.safetensors"));
}
