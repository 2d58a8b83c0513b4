#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>
#include <toml++/toml.h>

#include <troupe/runtime/file.h>
#include <troupe/runtime/text/utf8.h>
#include <troupe/tools/troupe/training/model_file.h>

namespace troupe::tools {
namespace {

constexpr std::size_t kModelFileBytesMax = std::size_t{1} << 20;

// The families that have a key.
enum class Has { kAll, kDecoders, kRotary, kMistral, kBert };

struct Key {
  const char* name;
  Has has;
};
constexpr Key kKeys[] = {{"family", Has::kAll},
                         {"tokenizer", Has::kAll},
                         {"vocabulary", Has::kAll},
                         {"layers", Has::kAll},
                         {"channels", Has::kAll},
                         {"ffn_channels", Has::kAll},
                         {"heads", Has::kAll},
                         {"kv_heads", Has::kRotary},
                         {"head_dim", Has::kRotary},
                         {"context", Has::kAll},
                         {"norm_epsilon", Has::kAll},
                         {"rope_theta", Has::kRotary},
                         {"tied_embedding", Has::kDecoders},
                         {"window", Has::kMistral},
                         {"token_types", Has::kBert},
                         {"seed", Has::kAll},
                         {"deviation", Has::kAll}};
constexpr const char* kFamilies[] = {"llama", "mistral", "qwen2", "qwen3", "gpt2", "bert"};

bool has_key(const std::string& family, Has has) {
  const bool is_bert = family == "bert", is_rotary = !is_bert && family != "gpt2";
  return has == Has::kAll || (has == Has::kDecoders && !is_bert) ||
         (has == Has::kRotary && is_rotary) || (has == Has::kMistral && family == "mistral") ||
         (has == Has::kBert && is_bert);
}

template <class Names>
std::string with_commas(const Names& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

class ModelFile {
 public:
  ModelFile(const std::string& path, toml::table table) : path_(path), table_(std::move(table)) {}

  Result<model::NewModelOptions> read() {
    model::NewModelOptions options;
    model::ModelConfig& config = options.config;
    TROUPE_ASSIGN_OR_RETURN(config.family, text("family", with_commas(kFamilies)));
    if (std::find(std::begin(kFamilies), std::end(kFamilies), config.family) == std::end(kFamilies))
      return bad("family", "is none that can be trained; these are " + with_commas(kFamilies));
    TROUPE_RETURN_IF_ERROR(check_keys(config.family));
    TROUPE_ASSIGN_OR_RETURN(const std::string tokenizer,
                            text("tokenizer", "the folder or GGUF file of a model's tokenizer"));
    options.tokenizer = tokenizer;
    std::error_code error;
    const auto beside = std::filesystem::path(path_).parent_path() / tokenizer;
    if (std::filesystem::exists(beside, error)) options.tokenizer = beside;
    TROUPE_RETURN_IF_ERROR(read_sizes(&config));
    TROUPE_ASSIGN_OR_RETURN(options.seed, whole("seed", 0, INT64_MAX, 0));
    TROUPE_ASSIGN_OR_RETURN(options.deviation, number("deviation", 0.02, 1e-6, 10.0));
    return options;
  }

 private:
  Status read_sizes(model::ModelConfig* config) {
    using model::kChannelsMax;
    const bool is_bert = config->family == "bert", is_gpt2 = config->family == "gpt2";
    config->causal = !is_bert;
    TROUPE_ASSIGN_OR_RETURN(config->layers, size("layers", model::kLayersMax));
    TROUPE_ASSIGN_OR_RETURN(config->channels, size("channels", kChannelsMax));
    TROUPE_ASSIGN_OR_RETURN(config->ffn_channels, size("ffn_channels", kChannelsMax));
    TROUPE_ASSIGN_OR_RETURN(config->heads, size("heads", kChannelsMax));
    TROUPE_ASSIGN_OR_RETURN(config->kv_heads, whole("kv_heads", 1, kChannelsMax, config->heads));
    if (config->heads % config->kv_heads != 0)
      return bad("kv_heads", "does not divide the " + std::to_string(config->heads) + " heads");
    if (!has("head_dim") && config->channels % config->heads != 0)
      return bad("heads", "does not divide the " + std::to_string(config->channels) +
                              " channels; change one of them");
    TROUPE_ASSIGN_OR_RETURN(config->head_dim, whole("head_dim", 1, model::kHeadDimMax,
                                                    config->channels / config->heads));
    if (!is_bert && !is_gpt2 && config->head_dim % 2 != 0)
      return bad(has("head_dim") ? "head_dim" : "heads",
                 "leaves a head " + std::to_string(config->head_dim) +
                     " channels, but rotary positions need an even number");
    if (config->heads * config->head_dim > kChannelsMax)
      return bad("heads", "makes all heads wider than " + std::to_string(kChannelsMax));
    TROUPE_ASSIGN_OR_RETURN(config->context_max, whole("context", 2, model::kContextMax, 512));
    TROUPE_ASSIGN_OR_RETURN(config->vocabulary, whole("vocabulary", 1, model::kVocabularyMax, 0));
    TROUPE_ASSIGN_OR_RETURN(config->token_types, whole("token_types", 1, 1024, is_bert ? 2 : 0));
    TROUPE_ASSIGN_OR_RETURN(config->window, whole("window", 1, model::kContextMax, 0));
    TROUPE_ASSIGN_OR_RETURN(config->rope_theta, number("rope_theta", 10000.0, 1.0, 1e15));
    TROUPE_ASSIGN_OR_RETURN(const double epsilon,
                            number("norm_epsilon", is_bert ? 1e-12 : 1e-5, 1e-20, 0.1));
    config->norm_epsilon = static_cast<float>(epsilon);
    TROUPE_ASSIGN_OR_RETURN(config->tied_embedding, flag("tied_embedding", true));
    return Status::ok();
  }

  // Refuses keys that the family does not have, which would otherwise be ignored silently.
  Status check_keys(const std::string& family) const {
    std::vector<std::string> known;
    for (const Key& key : kKeys)
      if (has_key(family, key.has)) known.push_back(key.name);
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      if (std::find(known.begin(), known.end(), name) == known.end())
        return Status(Code::kBadData, path_ + ":" + std::to_string(key.source().begin.line) +
                                          ": a new model of the family " + family + " has no " +
                                          in_quotes(name, 60) + "; known are " +
                                          with_commas(known));
    }
    return Status::ok();
  }

  bool has(const char* key) const { return table_.contains(key); }

  // Makes an error such as "model.toml:7: heads = 5 does not divide ...".
  Status bad(const char* key, const std::string& what) const {
    const toml::node* node = table_.get(key);
    std::string value;
    if (const auto* number = node->as_integer()) value = std::to_string(number->get());
    if (const auto* number = node->as_floating_point())
      value = nlohmann::json(number->get()).dump();
    if (const auto* one = node->as_boolean()) value = one->get() ? "true" : "false";
    if (const auto* one = node->as_string()) value = in_quotes(one->get(), 60);
    return Status(Code::kBadData, path_ + ":" + std::to_string(node->source().begin.line) + ": " +
                                      key + (value.empty() ? "" : " = " + value) + " " + what);
  }
  Status missing(const char* key, const std::string& what) const {
    return Status(Code::kBadData, path_ + " has no line with " + key + "; give it: " + what);
  }

  Result<std::string> text(const char* key, const std::string& what) const {
    if (!has(key)) return missing(key, what);
    const auto* one = table_.get(key)->as_string();
    if (one == nullptr || one->get().empty()) return bad(key, "takes a text in quotes: " + what);
    return one->get();
  }
  Result<std::uint64_t> whole(const char* key, std::uint64_t least, std::uint64_t most,
                              std::uint64_t fallback) const {
    if (!has(key)) return fallback;
    const auto* one = table_.get(key)->as_integer();
    if (one == nullptr || one->get() < 0 || static_cast<std::uint64_t>(one->get()) < least ||
        static_cast<std::uint64_t>(one->get()) > most)
      return bad(key, "is not a whole number from " + std::to_string(least) + " to " +
                          std::to_string(most));
    return static_cast<std::uint64_t>(one->get());
  }
  Result<std::uint64_t> size(const char* key, std::uint64_t most) const {
    if (!has(key)) return missing(key, "a whole number from 1 to " + std::to_string(most));
    return whole(key, 1, most, 0);
  }
  Result<double> number(const char* key, double fallback, double least, double most) const {
    if (!has(key)) return fallback;
    const toml::node& node = *table_.get(key);
    double value = least - 1.0;
    if (const auto* one = node.as_integer()) value = static_cast<double>(one->get());
    if (const auto* one = node.as_floating_point()) value = one->get();
    if (!(value >= least && value <= most))
      return bad(key, "is not a number from " + nlohmann::json(least).dump() + " to " +
                          nlohmann::json(most).dump());
    return value;
  }
  Result<bool> flag(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    const auto* one = table_.get(key)->as_boolean();
    if (one == nullptr) return bad(key, "is not true or false, without quotes");
    return one->get();
  }

  const std::string path_;
  const toml::table table_;
};

}  // namespace

Result<model::NewModelOptions> read_model_file(const std::string& path) {
  TROUPE_ASSIGN_OR_RETURN(const std::string content, read_file(path, kModelFileBytesMax));
  try {
    return ModelFile(path, toml::parse(content, path)).read();
  } catch (const toml::parse_error& failure) {
    return Status(Code::kBadData, path + ":" + std::to_string(failure.source().begin.line) +
                                      ": not TOML: " + std::string(failure.description()));
  }
}

}  // namespace troupe::tools
