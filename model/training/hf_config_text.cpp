#include <optional>

#include <nlohmann/json.hpp>

#include <troupe/model/families/family.h>
#include <troupe/model/files/header_keys.h>
#include <troupe/model/training/hf_config_text.h>
#include <troupe/model/training/text_limits.h>
#include <troupe/model/training/trainable.h>
#include <troupe/runtime/text/bounded_json.h>

namespace troupe::model {
namespace {

using nlohmann::ordered_json;

const char* architecture_of(const std::string& type, EncoderHead head, bool labels) {
  if (type == "mistral") return "MistralForCausalLM";
  if (type == "qwen2") return "Qwen2ForCausalLM";
  if (type == "qwen3") return "Qwen3ForCausalLM";
  if (type == "gpt2") return "GPT2LMHeadModel";
  if (type == "bert" && head == EncoderHead::kMask) return "BertForMaskedLM";
  if (type == "bert" && !labels) return "BertModel";
  if (type == "bert")
    return head == EncoderHead::kToken ? "BertForTokenClassification"
                                       : "BertForSequenceClassification";
  return "LlamaForCausalLM";
}

void add_rope(const ModelConfig& config, ordered_json* out) {
  (*out)["rope_theta"] = config.rope_theta;
  if (config.rope_scaling == RopeScaling::kLinear)
    (*out)["rope_scaling"] = {{"rope_type", "linear"}, {"factor", config.rope_factor}};
  if (config.rope_scaling == RopeScaling::kLlama3)
    (*out)["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", config.rope_factor},
                              {"low_freq_factor", config.rope_low_factor},
                              {"high_freq_factor", config.rope_high_factor},
                              {"original_max_position_embeddings", config.rope_context}};
}

ordered_json llama_like(const ModelConfig& config) {
  // GGUF files of Mistral's models call themselves llama; only a window distinguishes them.
  const bool windowed = config.family == "llama" && config.window != 0;
  const std::string type =
      windowed ? "mistral" : std::string(find_family(config.family)->hf.model_type);
  ordered_json out = {{"model_type", type},
                      {"hidden_size", config.channels},
                      {"intermediate_size", config.ffn_channels},
                      {"num_hidden_layers", config.layers},
                      {"num_attention_heads", config.heads},
                      {"num_key_value_heads", config.kv_heads},
                      {"head_dim", config.head_dim},
                      {"vocab_size", config.vocabulary},
                      {"max_position_embeddings", config.context_max},
                      {"rms_norm_eps", config.norm_epsilon},
                      {"hidden_act", "silu"},
                      {"tie_word_embeddings", config.tied_embedding}};
  add_rope(config, &out);
  if (config.window == 0) return out;
  out["sliding_window"] = config.window;
  if (type == "mistral" && config.window_begin == 0) return out;
  auto types = ordered_json::array();
  for (std::size_t layer = 0; layer < config.layers; ++layer)
    types.push_back(layer < config.window_begin ? "full_attention" : "sliding_attention");
  out["layer_types"] = types;
  out["use_sliding_window"] = true;
  return out;
}

ordered_json gpt2(const ModelConfig& config) {
  return {{"model_type", "gpt2"},
          {"n_embd", config.channels},
          {"n_inner", config.ffn_channels},
          {"n_layer", config.layers},
          {"n_head", config.heads},
          {"n_positions", config.context_max},
          {"vocab_size", config.vocabulary},
          {"layer_norm_epsilon", config.norm_epsilon},
          {"activation_function", "gelu_new"},
          {"tie_word_embeddings", config.tied_embedding}};
}

ordered_json bert(const ModelConfig& config) {
  return {{"model_type", "bert"},
          {"hidden_size", config.channels},
          {"intermediate_size", config.ffn_channels},
          {"num_hidden_layers", config.layers},
          {"num_attention_heads", config.heads},
          {"vocab_size", config.vocabulary},
          {"max_position_embeddings", config.context_max},
          {"type_vocab_size", config.token_types},
          {"layer_norm_eps", config.norm_epsilon},
          {"hidden_act", "gelu"}};
}

std::optional<std::string> text_at(const GgufHeader& header, std::string_view key) {
  if (!header.metadata.contains(key)) return std::nullopt;
  Result<std::string> text = header.string(key);
  if (!text) return std::nullopt;
  return std::move(*text);
}

// Adds bos and eos of a GGUF file.
void add_ids(const GgufHeader& header, ordered_json* out) {
  for (const auto& [key, field] : {std::pair{"tokenizer.ggml.bos_token_id", "bos_token_id"},
                                   std::pair{"tokenizer.ggml.eos_token_id", "eos_token_id"}})
    if (const Result<std::uint64_t> id = header.u64(key); header.metadata.contains(key) && id)
      (*out)[field] = *id;
}

}  // namespace

Result<std::string> hf_config_text(const GgufHeader& header, const ModelConfig& config,
                                   const std::vector<std::string>& labels) {
  TROUPE_RETURN_IF_ERROR(check_trainable(config));
  ordered_json out;
  if (const auto text = text_at(header, header_keys::kConfigJson)) {
    TROUPE_ASSIGN_OR_RETURN(out, parse_ordered_json(*text, "config.json", kTextLimits));
  } else {
    if (config.rope_factors)
      return Status(Code::kFailedPrecondition,
                    "the model's file scales rotary frequencies by a tensor, rope_freqs.weight, "
                    "which config.json cannot say; train the model's Hugging Face folder instead");
    out = config.family == "gpt2" ? gpt2(config)
          : config.causal         ? llama_like(config)
                                  : bert(config);
    add_ids(header, &out);
  }
  const std::string type = out.value("model_type", "");
  out["architectures"] = {architecture_of(type, config.head, !labels.empty())};
  out.erase("torch_dtype");
  out["dtype"] = "float32";
  if (!labels.empty()) {
    ordered_json names = ordered_json::object(), numbers = ordered_json::object();
    for (std::size_t i = 0; i < labels.size(); ++i) {
      names[std::to_string(i)] = labels[i];
      numbers[labels[i]] = i;
    }
    out["id2label"] = names;
    out["label2id"] = numbers;
    out["problem_type"] = labels.size() == 1 ? "regression" : "single_label_classification";
  } else if (config.head == EncoderHead::kMask) {
    for (const char* field : {"id2label", "label2id"}) out.erase(field);
  }
  if (config.head != EncoderHead::kSequence) out.erase("problem_type");
  return out.dump(2) + "\n";
}

Result<std::string> converted_config_text(const GgufHeader& header, const ModelConfig& config,
                                          std::string_view dtype) {
  ordered_json out;
  const auto text = text_at(header, header_keys::kConfigJson);
  if (text) {
    TROUPE_ASSIGN_OR_RETURN(out, parse_ordered_json(*text, "config.json", kTextLimits));
    // If the model also sees pictures, only its text model is written.
    if (const auto inner = out.find("text_config"); inner != out.end() && inner->is_object())
      out = ordered_json(*inner);
  } else {
    TROUPE_ASSIGN_OR_RETURN(const std::string made, hf_config_text(header, config, {}));
    TROUPE_ASSIGN_OR_RETURN(out, parse_ordered_json(made, "config.json", kTextLimits));
  }
  out.erase("quantization_config");
  out.erase("torch_dtype");
  out["dtype"] = dtype == "F16" ? "float16" : dtype == "BF16" ? "bfloat16" : "float32";
  return out.dump(2) + "\n";
}

std::vector<std::string> label_names(const GgufHeader& header) {
  const auto text = text_at(header, header_keys::kConfigJson);
  if (!text) {  // a GGUF file has the labels in a key of its architecture
    for (const auto& [key, value] : header.metadata)
      if (key.ends_with(".classifier.output_labels"))
        if (const auto* names = std::get_if<std::vector<std::string>>(&value)) return *names;
    return {};
  }
  const Result<ordered_json> config = parse_ordered_json(*text, "config.json", kTextLimits);
  if (!config || !config->is_object()) return {};
  const auto names = config->find("id2label");
  if (names == config->end() || !names->is_object()) return {};
  std::vector<std::string> labels;
  for (std::size_t i = 0; i < names->size(); ++i) {
    const auto name = names->find(std::to_string(i));
    if (name == names->end() || !name->is_string()) return {};
    labels.push_back(name->get<std::string>());
  }
  return labels;
}

}  // namespace troupe::model
