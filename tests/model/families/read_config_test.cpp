#include <limits>

#include <catch2/catch.hpp>

#include <troupe/model/config/layer_range.h>
#include <troupe/model/families/read_config.h>

using namespace troupe;
using namespace troupe::model;
using Catch::Matchers::Contains;

namespace {

GgufHeader llama_header() {
  GgufHeader header;
  header.version = 3;
  auto& m = header.metadata;
  m["general.architecture"] = std::string("llama");
  m["llama.block_count"] = std::uint32_t{30};
  m["llama.context_length"] = std::uint32_t{8192};
  m["llama.embedding_length"] = std::uint32_t{576};
  m["llama.feed_forward_length"] = std::uint32_t{1536};
  m["llama.attention.head_count"] = std::uint32_t{9};
  m["llama.attention.head_count_kv"] = std::uint32_t{3};
  m["llama.rope.freq_base"] = 100000.0f;
  m["llama.attention.layer_norm_rms_epsilon"] = 1e-5f;
  m["llama.rope.dimension_count"] = std::uint32_t{64};
  header.tensors.push_back({"token_embd.weight", quant::Type::kQ8_0, {49152, 576}, 0, 0});
  return header;
}

}  // namespace

TEST_CASE("a small header cannot ask for more experts than a model has") {
  GgufHeader header = llama_header();
  header.metadata["llama.block_count"] = std::uint32_t{4096};
  header.metadata["llama.expert_count"] = std::uint32_t{1024};
  header.metadata["llama.expert_used_count"] = std::uint32_t{2};
  CHECK_THAT(config_from_gguf(header).message(),
             Contains("number of experts in all layers is 4194304"));
}

TEST_CASE("a Llama header becomes a configuration") {
  GgufHeader header = llama_header();
  auto config = config_from_gguf(header);
  REQUIRE(config.is_ok());
  CHECK(config->family == "llama");
  CHECK(config->layers == 30);
  CHECK(config->channels == 576);
  CHECK(config->ffn_channels == 1536);
  CHECK(config->heads == 9);
  CHECK(config->kv_heads == 3);
  CHECK(config->head_dim == 64);
  CHECK(config->rotary_dim == 64);
  CHECK(config->vocabulary == 49152);
  CHECK(config->context_max == 8192);
  CHECK(config->norm_epsilon == 1e-5f);
  CHECK(config->rope_theta == 100000.0);
  CHECK(config->rope_interleaved);
  CHECK(config->tied_embedding);

  header.tensors.push_back({"output.weight", quant::Type::kQ8_0, {49152, 576}, 0, 0});
  header.metadata["llama.attention.key_length"] = std::uint32_t{128};
  header.metadata["llama.attention.value_length"] = std::uint32_t{128};
  header.metadata.erase("llama.attention.head_count_kv");
  header.metadata.erase("llama.rope.freq_base");
  config = config_from_gguf(header);
  REQUIRE(config.is_ok());
  CHECK_FALSE(config->tied_embedding);
  CHECK(config->head_dim == 128);
  CHECK(config->kv_heads == 9);
  CHECK(config->rope_theta == 10000.0);
}

TEST_CASE("every field is needed and bounded") {
  for (const char* key : {"general.architecture", "llama.block_count", "llama.context_length",
                          "llama.embedding_length", "llama.feed_forward_length",
                          "llama.attention.head_count", "llama.attention.layer_norm_rms_epsilon"}) {
    GgufHeader header = llama_header();
    header.metadata.erase(key);
    const auto config = config_from_gguf(header);
    CHECK(config.code() == Code::kBadData);
    CHECK_THAT(config.message(), Contains(key));
  }
  const struct {
    const char* key;
    GgufValue value;
    const char* message;
  } cases[] = {
      {"general.architecture", std::string("mamba"), "mamba"},
      {"llama.block_count", std::uint32_t{0}, "number of layers"},
      {"llama.block_count", std::uint64_t{1} << 60, "number of layers"},
      {"llama.block_count", std::string("many"), "llama.block_count"},
      {"llama.embedding_length", std::uint32_t{0}, "embedding length"},
      {"llama.embedding_length", std::uint32_t{4000000000u}, "llama.embedding_length"},
      {"llama.feed_forward_length", std::uint64_t{1} << 40, "feed-forward"},
      {"llama.attention.head_count", std::uint32_t{0}, "head_count"},
      {"llama.attention.head_count", std::uint32_t{577},
       "not a multiple of llama.attention.head_count"},
      {"llama.attention.head_count_kv", std::uint32_t{0}, "key/value heads"},
      {"llama.attention.head_count_kv", std::uint32_t{2}, "not a multiple"},
      {"llama.attention.key_length", std::uint32_t{1u << 20}, "head dimension"},
      {"llama.attention.value_length", std::uint32_t{32}, "values of 32"},
      {"llama.context_length", std::uint32_t{0}, "context length"},
      {"llama.context_length", std::uint32_t{1u << 21}, "context length"},
      {"llama.rope.dimension_count", std::uint32_t{65}, "rotary dimension 65"},
      {"llama.rope.dimension_count", std::uint32_t{128}, "rotary dimension 128"},
      {"llama.rope.freq_base", 0.0f, "rotary base"},
      {"llama.rope.freq_base", std::numeric_limits<float>::quiet_NaN(), "rotary base"},
      {"llama.attention.layer_norm_rms_epsilon", -1.0f, "epsilon"},
      {"llama.rope.scaling.type", std::string("yarn"), "llama.rope.scaling.factor"},
      {"llama.expert_count", std::uint32_t{8}, "expert_used_count"},
  };
  for (const auto& c : cases) {
    GgufHeader header = llama_header();
    header.metadata[c.key] = c.value;
    const auto config = config_from_gguf(header);
    INFO(c.key << ": " << config.message());
    CHECK(config.code() == Code::kBadData);
    CHECK_THAT(config.message(), Contains(c.message));
  }
}

TEST_CASE("rotary scaling is read and bounded") {
  GgufHeader header = llama_header();
  auto& m = header.metadata;
  m["llama.rope.scaling.type"] = std::string("linear");
  CHECK(config_from_gguf(header)->rope_factor == 1.0);  // without a factor, nothing is scaled
  m["llama.rope.scale_linear"] = 2.0f;                  // the form in files of 2023
  CHECK(config_from_gguf(header)->rope_factor == 2.0);
  m.erase("llama.rope.scaling.type");
  CHECK(config_from_gguf(header)->rope_factor == 2.0);
  m["llama.rope.scaling.factor"] = 4.0f;
  CHECK(config_from_gguf(header)->rope_factor == 4.0);  // a factor without a type is linear
  CHECK(config_from_gguf(header)->rope_scaling == RopeScaling::kLinear);
  m["llama.rope.scaling.type"] = std::string("none");
  CHECK(config_from_gguf(header)->rope_scaling == RopeScaling::kNone);
  m["llama.rope.scaling.type"] = std::string("linear");
  REQUIRE(config_from_gguf(header).is_ok());
  CHECK(config_from_gguf(header)->rope_scaling == RopeScaling::kLinear);
  CHECK(config_from_gguf(header)->rope_factor == 4.0);
  m["llama.rope.scaling.type"] = std::string("llama3");
  CHECK_THAT(config_from_gguf(header).message(), Contains("original_context_length"));
  m["llama.rope.scaling.original_context_length"] = std::uint32_t{8192};
  m["llama.rope.scaling.low_freq_factor"] = 1.0f;
  m["llama.rope.scaling.high_freq_factor"] = 4.0f;
  const auto config = config_from_gguf(header);
  REQUIRE(config.is_ok());
  CHECK(config->rope_scaling == RopeScaling::kLlama3);
  CHECK(config->rope_context == 8192);
  const struct {
    const char* key;
    GgufValue value;
    const char* message;
  } cases[] = {{"factor", 0.5f, "scaling factor 0.5"},
               {"factor", std::numeric_limits<float>::infinity(), "scaling factor"},
               {"low_freq_factor", 4.0f, "frequency factors"},
               {"high_freq_factor", -1.0f, "frequency factors"},
               {"original_context_length", std::uint32_t{0}, "original context"}};
  for (const auto& c : cases) {
    GgufHeader wrong = header;
    wrong.metadata[std::string("llama.rope.scaling.") + c.key] = c.value;
    CHECK_THAT(config_from_gguf(wrong).message(), Contains(c.message));
  }
  header.tensors.push_back({"rope_freqs.weight", quant::Type::kF32, {32}, 0, 0});
  CHECK(config_from_gguf(header)->rope_factors);
}

TEST_CASE("a model without an embedding, or with tensors that we would ignore, is refused") {
  GgufHeader header = llama_header();
  header.tensors.clear();
  CHECK_THAT(config_from_gguf(header).message(), Contains("token_embd.weight"));
  for (const char* name : {"blk.0.attn_q_norm.weight", "output.bias"}) {
    header = llama_header();
    header.tensors.push_back({name, quant::Type::kF32, {32}, 0, 0});
    CHECK(config_from_gguf(header).code() == Code::kBadData);
  }
}

TEST_CASE("ranges of layers are read and written") {
  const auto parsed = parse_layer_ranges("0-9,10-19,20-29");
  REQUIRE(parsed.is_ok());
  REQUIRE(*parsed == std::vector<LayerRange>{{0, 10}, {10, 20}, {20, 30}});
  REQUIRE(*parse_layer_ranges("3") == std::vector<LayerRange>{{3, 4}});
  REQUIRE(to_string(LayerRange{0, 10}) == "0-9");
  REQUIRE(to_string(LayerRange{3, 4}) == "3");
  for (const char* text : {"", ",", "0-9,", "-3", "3-", "9-0", "a-b", "0-9 ", "0--9", "+1", "1-2-3",
                           "0-99999", "99999999999999999999999"}) {
    const auto wrong = parse_layer_ranges(text);
    INFO(text);
    CHECK(wrong.code() == Code::kInvalidArgument);
    CHECK_THAT(wrong.message(), Contains("write for example 0-9,10-19"));
  }
}
