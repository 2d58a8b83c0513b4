#include <cstdint>
#include <random>
#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/families/read_config.h>
#include <troupe/model/source/open_model.h>
#include <troupe/tests/model/source/tiny_folder.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;
using nlohmann::json;

// Tests what the config.json of a folder says, and how it is refused.

TEST_CASE("the fields of config.json become the configuration") {
  const Folder llama("llama");
  const auto plain = llama.open();
  INFO(plain.message());
  REQUIRE(plain.is_ok());
  CHECK(plain->layers == 2);
  CHECK(plain->channels == 64);
  CHECK(plain->ffn_channels == 96);
  CHECK(plain->heads == 4);
  CHECK(plain->kv_heads == 2);
  CHECK(plain->head_dim == 16);
  CHECK(plain->context_max == 64);
  CHECK(plain->norm_epsilon == 1e-6f);
  CHECK_FALSE(plain->rope_interleaved);
  CHECK_FALSE(plain->tied_embedding);
  // Folders made before 2025 have this form.
  const auto older = llama.open([](json& c) {
    c.erase("rope_parameters");
    c.erase("head_dim");
    c["rope_theta"] = 500000.0;
    c["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
  });
  REQUIRE(older.is_ok());
  CHECK(older->rope_theta == 500000.0);
  CHECK(older->rope_scaling == RopeScaling::kLinear);
  CHECK(older->rope_factor == 2.0);
  const auto llama3 = llama.open([](json& c) {
    c["rope_parameters"] = {{"rope_type", "llama3"},   {"rope_theta", 500000.0},
                            {"factor", 8.0},           {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0}, {"original_max_position_embeddings", 32}};
  });
  REQUIRE(llama3.is_ok());
  CHECK(llama3->rope_scaling == RopeScaling::kLlama3);
  CHECK(llama3->rope_context == 32);
  CHECK(llama3->rope_low_factor == 1.0);
  // Both places say the same, and only the older one has a base.
  const auto both = llama.open([](json& c) {
    c["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 2.0}};
    c["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
    c["rope_theta"] = 5000.0;
    c["partial_rotary_factor"] = 1.0;
    c["quantization_config"] = nullptr;
  });
  INFO(both.message());
  REQUIRE(both.is_ok());
  CHECK(both->rope_theta == 5000.0);
  CHECK(both->rope_scaling == RopeScaling::kLinear);
  const auto otherwise = llama.open([](json& c) {
    c["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 2.0}};
    c["rope_scaling"] = {{"type", "linear"}, {"factor", 4.0}};
  });
  CHECK_THAT(otherwise.message(),
             Contains("\"rope_scaling.factor\" and \"rope_parameters.factor\" contradict"));
  // The model's head is not the embedding, whatever the flag says.
  const auto stale = llama.open([](json& c) { c["tie_word_embeddings"] = true; });
  REQUIRE(stale.is_ok());
  CHECK_FALSE(stale->tied_embedding);

  CHECK(Folder("mistral").open()->window == 6);
  CHECK(Folder("mistral").open([](json& c) { c["sliding_window"] = nullptr; })->window == 0);
  const Folder qwen2("qwen2");
  CHECK(qwen2.open()->window == 0);
  CHECK(qwen2.open()->qkv_bias);
  CHECK(qwen2.open()->tied_embedding);
  const auto sliding = qwen2.open([](json& c) {
    c["use_sliding_window"] = true;
    c["sliding_window"] = 8;
    c["layer_types"] = {"full_attention", "sliding_attention"};
  });
  REQUIRE(sliding.is_ok());
  CHECK(sliding->window == 8);
  CHECK(sliding->window_begin == 1);
  const Folder qwen3("qwen3");
  CHECK(qwen3.open()->head_dim == 24);
  CHECK(qwen3.open()->head_norm);
  const auto gpt2 = Folder("gpt2").open();
  REQUIRE(gpt2.is_ok());
  CHECK(gpt2->ffn_channels == 256);
  CHECK(gpt2->norm == NormKind::kLayer);
  CHECK(gpt2->rotary_dim == 0);
  CHECK(gpt2->tied_embedding);
  const auto bert = Folder("bert").open();
  REQUIRE(bert.is_ok());
  CHECK_FALSE(bert->causal);
  CHECK(bert->norm_epsilon == 1e-12f);
  CHECK(bert->labels == 2);
  CHECK(bert->token_types == 2);
}

TEST_CASE("a scaling of rotary positions may be given in parts") {
  const Folder llama("llama");
  const auto scaled = [&](const json& parameters, const json& scaling, const json& outer = {}) {
    const auto opened = llama.open([&](json& c) {
      c.erase("rope_parameters");
      if (!parameters.is_null()) c["rope_parameters"] = parameters;
      if (!scaling.is_null()) c["rope_scaling"] = scaling;
      c.update(outer.is_null() ? json::object() : outer);
    });
    INFO(opened.message());
    REQUIRE(opened.is_ok());
    return *opened;
  };
  const json linear = {{"type", "linear"}, {"factor", 4.0}};
  CHECK(scaled({{"rope_theta", 5e5}}, linear).rope_factor == 4.0);
  CHECK(scaled({{"rope_theta", 5e5}}, linear).rope_theta == 5e5);
  CHECK(scaled({{"factor", 4.0}}, {{"type", "linear"}}).rope_factor == 4.0);
  json inner = linear;
  inner["rope_theta"] = 7e5;
  CHECK(scaled(nullptr, inner).rope_theta == 7e5);
  CHECK(scaled(nullptr, inner, {{"rope_theta", 7e5}}).rope_theta == 7e5);
  CHECK(scaled(nullptr, linear, {{"rope_theta", 3e5}}).rope_theta == 3e5);
  const json llama3 = {{"rope_type", "llama3"},
                       {"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0}};
  CHECK(scaled(llama3, nullptr).rope_context == 64);  // the model's own
  CHECK(scaled(llama3, nullptr, {{"original_max_position_embeddings", 16}}).rope_context == 16);
  CHECK(scaled(llama3, {{"original_max_position_embeddings", 32}}).rope_context == 32);
  const auto otherwise = llama.open([](json& c) {
    c["rope_scaling"] = {{"type", "default"}, {"rope_theta", 3e5}};
    c["rope_parameters"] = nullptr;
    c["rope_theta"] = 1e4;
  });
  CHECK_THAT(otherwise.message(), Contains("\"rope_theta\" and \"rope_scaling.rope_theta\""));
}

TEST_CASE("config.json may hold what Python's json writes") {
  const Folder folder("llama");
  const std::string good = folder.config.dump();
  const auto opened = [&](const std::string& fields) {
    folder.write("config.json", good.substr(0, good.size() - 1) + "," + fields + "}");
    const auto model = open_model(folder.path.string());
    return model.is_ok() ? config_from_gguf((*model)->header())
                         : Result<ModelConfig>(model.status());
  };
  for (const char* fields :
       {R"("time_step_limit":[0.0,Infinity])", R"("a":NaN,"b":-Infinity,"c":[NaN])",
        R"("big":1e400)", R"("big":-1e400,"small":1e-400)", R"("use_cache":true,"use_cache":false)",
        R"("model_max_length":1000000000000000019884624838656)",
        R"("text":"NaN, \"Infinity\" and 1e400","more":{"x":1,"x":{"y":Infinity}})"}) {
    const auto config = opened(fields);
    INFO(fields << ": " << config.message());
    REQUIRE(config.is_ok());
    CHECK(config->layers == 2);
  }
  // The last of two equal keys counts, and a number that is needed must be a number.
  CHECK(opened(R"("rms_norm_eps":0.5,"rms_norm_eps":0.25)")->norm_epsilon == 0.25f);
  for (const char* value : {"NaN", "Infinity", "1e400"}) {
    CHECK_THAT(opened(std::string(R"("rms_norm_eps":)") + value).message(),
               Contains("\"rms_norm_eps\" is '\"" + std::string(value)));
  }
  CHECK_THAT(opened(R"("a":nan)").message(), Contains("is not JSON at byte"));
  CHECK_THAT(opened(R"("a":Infinity1)").message(), Contains("is not JSON at byte"));
}

TEST_CASE("a config.json that cannot be run is refused with file, field and value") {
  const struct {
    const char* family;
    const char* field;
    json value;
    const char* message;
  } cases[] = {
      {"llama", "model_type", "mamba", "'mamba'"},
      {"llama", "model_type", nullptr, "\"model_type\" is 'null', expected a text"},
      {"llama", "hidden_size", nullptr, "\"hidden_size\" is 'null'"},
      {"llama", "hidden_size", "64", "\"hidden_size\" is '\"64\"'"},
      {"llama", "hidden_size", -64, "-64"},
      {"llama", "hidden_size", 64.5, "64.5"},
      {"llama", "hidden_size", std::uint64_t{1} << 60,
       "\"hidden_size\" is '1152921504606846976', expected an integer from 1 to 1048576"},
      {"llama", "num_hidden_layers", 0, "\"num_hidden_layers\" is '0', expected"},
      {"llama", "num_hidden_layers", std::uint64_t{1} << 62, "\"num_hidden_layers\" is '46116"},
      {"llama", "num_hidden_layers", 3,
       "\"num_hidden_layers\" is 3, but the weights have 2 layers"},
      {"llama", "num_hidden_layers", 1,
       "\"num_hidden_layers\" is 1, but the weights have 2 layers"},
      {"gpt2", "n_layer", 3, "\"n_layer\" is 3, but the weights have 2 layers"},
      {"llama", "intermediate_size", 0, "\"intermediate_size\" is '0', expected"},
      {"llama", "max_position_embeddings", 0, "\"max_position_embeddings\" is '0', expected"},
      {"llama", "num_attention_heads", 0, "\"num_attention_heads\" is '0', expected"},
      {"llama", "num_key_value_heads", 0, "\"num_key_value_heads\" is '0', expected"},
      {"llama", "num_key_value_heads", 3,
       "\"num_attention_heads\" is 4, which is not a multiple of \"num_key_value_heads\", 3"},
      {"llama", "head_dim", 0, "\"head_dim\" is '0', expected"},
      {"llama", "head_dim", 5000, "\"head_dim\" is '5000', expected an integer from 1 to 4096"},
      {"bert", "num_attention_heads", 5,
       "\"hidden_size\" is 64, which is not a multiple of \"num_attention_heads\", 5"},
      {"gpt2", "n_head", 5, "\"n_embd\" is 64, which is not a multiple of \"n_head\", 5"},
      {"gpt2", "n_positions", 0, "\"n_positions\" is '0', expected"},
      {"gpt2", "n_inner", 0, "\"n_inner\" is '0', expected"},
      {"llama", "hidden_act", "relu", "'relu'"},
      {"llama", "rms_norm_eps", "x", "rms_norm_eps"},
      {"llama", "rms_norm_eps", 2.0, "\"rms_norm_eps\" is '2.0', expected a number from"},
      {"llama", "rms_norm_eps", 0.0, "\"rms_norm_eps\" is '0.0', expected a number from"},
      {"llama", "rms_norm_eps", nullptr, "\"rms_norm_eps\" is 'null', expected a number from"},
      {"bert", "layer_norm_eps", nullptr, "\"layer_norm_eps\" is 'null'"},
      {"gpt2", "layer_norm_epsilon", nullptr, "\"layer_norm_epsilon\" is 'null'"},
      {"llama", "tie_word_embeddings", 1, "true or false"},
      {"llama", "vocab_size", 129, "\"vocab_size\" is 129, but the embedding has 128 rows"},
      {"olmo2", "attention_bias", true, "\"attention_bias\" is true"},
      {"llama", "rope_parameters", json{{"rope_type", "yarn"}}, "\"rope_parameters.factor\""},
      {"llama", "rope_parameters", json{{"rope_type", "longrope"}}, "'longrope'"},
      {"gemma3", "use_bidirectional_attention", true, "is true"},
      {"smollm3", "no_rope_layers", {1, 0, 0, 1, 1}, "\"no_rope_layers\" says 0 for layer 2"},
      {"qwen3_moe", "decoder_sparse_step", 0, "decoder_sparse_step\" is 0, expected 1 or more"},
      {"mixtral", "num_experts_per_tok", 6, "\"num_experts_per_tok\" is 6"},
      {"phi3_long", "rope_parameters", json{{"rope_type", "longrope"}}, "short_factor"},
      {"llama", "rope_parameters", json{{"rope_type", "linear"}}, "rope_parameters.factor"},
      {"llama", "rope_parameters", json{{"partial_rotary_factor", 0.5}}, "part of each head"},
      {"llama", "rope_parameters", json{{"rope_theta", -1.0}},
       "\"rope_parameters.rope_theta\" is '-1.0', expected a number from 1 to 1e+15"},
      {"llama", "rope_parameters", json{{"rope_type", "linear"}, {"factor", 0.5}},
       "\"rope_parameters.factor\" is '0.5', expected a number from 1"},
      {"llama", "rope_parameters",
       json{{"rope_type", "llama3"},
            {"factor", 8.0},
            {"low_freq_factor", 4.0},
            {"high_freq_factor", 1.0},
            {"original_max_position_embeddings", 32}},
       "\"rope_parameters.low_freq_factor\" and \"rope_parameters.high_freq_factor\""},
      {"llama", "partial_rotary_factor", 0.5, "\"partial_rotary_factor\" is 0.5"},
      {"llama", "rope_theta", 5000.0, "\"rope_theta\" and \"rope_parameters.rope_theta\""},
      {"llama", "rope_scaling", json{{"rope_type", "linear"}, {"factor", 2.0}},
       "\"rope_scaling\" and \"rope_parameters\" contradict"},
      {"llama", "quantization_config", json{{"quant_method", "gptq"}, {"bits", 4}},
       "quantized by 'gptq' as numbers of 4 bits, which this version cannot read"},
      {"llama", "quantization_config", json::object(), "\"quantization_config\""},
      {"mistral", "sliding_window", 0, "\"sliding_window\" is 0"},
      {"gpt2", "activation_function", "swish", "'swish'"},
      {"gpt2", "scale_attn_weights", false, "scale_attn_weights"},
      {"gpt2", "n_embd", std::uint64_t{1} << 62, "\"n_embd\" is '4611686018427387904', expected"},
      {"bert", "hidden_act", "gelu_new", "'gelu_new'"},
      {"bert", "is_decoder", true, "is_decoder"},
      {"bert", "position_embedding_type", "relative_key", "relative_key"},
  };
  for (const auto& c : cases) {
    const Folder folder(c.family);
    const auto opened = folder.open([&](json& config) { config[c.field] = c.value; });
    INFO(c.family << " " << c.field << ": " << opened.message());
    CHECK(opened.code() == Code::kBadData);
    CHECK_THAT(opened.message(), Contains(c.message));
  }
  const Folder folder("llama");
  CHECK_THAT(folder.open([](json& c) { c.erase("hidden_size"); }).message(),
             Contains("\"hidden_size\" is missing"));
  const auto with_text = [&](const std::string& text) {
    folder.write("config.json", text);
    const auto opened = open_model(folder.path.string());
    CHECK(opened.code() == Code::kBadData);
    CHECK_THAT(opened.message(), Contains("config.json"));
  };
  const std::string good = folder.config.dump();
  for (std::size_t bytes = 0; bytes < good.size(); bytes += 7) with_text(good.substr(0, bytes));
  with_text("[]");
  with_text("{\"model_type\": \"\xff\"}");
  with_text(std::string(10000, '['));
}

TEST_CASE("no flipped byte of config.json crashes") {
  std::mt19937 random(2);
  const Folder folder("qwen2");
  const std::string good = folder.config.dump();
  for (int i = 0; i < 500; ++i) {
    std::string text = good;
    for (unsigned flips = 1 + random() % 3; flips > 0; --flips)
      text[random() % text.size()] = static_cast<char>(random() % 128);
    folder.write("config.json", text);
    if (const auto model = open_model(folder.path.string()))
      static_cast<void>(config_from_gguf((*model)->header()));
  }
}
