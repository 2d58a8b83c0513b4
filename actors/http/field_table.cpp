#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include <troupe/actors/http/chat_messages.h>
#include <troupe/actors/http/field_table.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::http {
namespace {

using nlohmann::json;
using Error = std::optional<ApiError>;

ApiError wrong_type(const json& value, const std::string& name, const std::string& expected) {
  return bad_request(name + " is a JSON " + value.type_name() + ", expected " + expected, name,
                     "invalid_type");
}

ApiError out_of_range(const json& value, const std::string& name, const std::string& expected) {
  return bad_request(name + " is " + value.dump() + ", expected " + expected, name,
                     "invalid_value");
}

// Reads a number that the JSON text writes as a whole number of at most 64 bits; 4.0 is not one.
Error read_whole(const json& value, const std::string& name, std::uint64_t least,
                 std::uint64_t most, std::uint64_t* out) {
  const std::string expected =
      "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
  if (!value.is_number()) return wrong_type(value, name, expected);
  if (!value.is_number_unsigned()) return out_of_range(value, name, expected);
  *out = value.get<std::uint64_t>();
  if (*out < least || *out > most) return out_of_range(value, name, expected);
  return std::nullopt;
}

Error read_real(const json& value, const std::string& name, double least, double most, float* out) {
  const auto number = [](double bound) { return json(bound).dump(); };
  const std::string expected = "a number from " + number(least) + " to " + number(most);
  if (!value.is_number()) return wrong_type(value, name, expected);
  const double real = value.get<double>();
  if (!(real >= least && real <= most)) return out_of_range(value, name, expected);
  *out = static_cast<float>(real);
  return std::nullopt;
}

Error read_flag(const json& value, const std::string& name, bool* out) {
  if (!value.is_boolean()) return wrong_type(value, name, "true or false");
  *out = value.get<bool>();
  return std::nullopt;
}

Error read_model(const json& value, const std::string& name, GenerationAsk* ask) {
  if (!value.is_string()) return wrong_type(value, name, "a model's id");
  ask->model = value.get<std::string>();
  return std::nullopt;
}

Error read_messages(const json& value, const std::string& name, GenerationAsk* ask) {
  return read_chat_messages(value, name, &ask->messages_json);
}

Error read_ids(const json& list, const std::string& name, std::vector<model::TokenId>* ids) {
  for (const json& id : list) {
    std::uint64_t value = 0;
    Error error = read_whole(id, name, 0, std::numeric_limits<model::TokenId>::max(), &value);
    if (error) return error;
    ids->push_back(static_cast<model::TokenId>(value));
  }
  return std::nullopt;
}

Error read_prompt(const json& value, const std::string& name, GenerationAsk* ask) {
  const char* const kExpected = "a text, a list of texts, token ids or a list of token ids";
  if (value.is_string()) {
    ask->prompts.emplace_back(value.get<std::string>());
    return std::nullopt;
  }
  if (!value.is_array()) return wrong_type(value, name, kExpected);
  if (value.empty())
    return bad_request("prompt is an empty list; give " + std::string(kExpected), name,
                       "invalid_value");
  if (value.front().is_number()) {
    std::vector<model::TokenId> ids;
    Error error = read_ids(value, name, &ids);
    if (!error) ask->prompts.emplace_back(std::move(ids));
    return error;
  }
  if (value.size() > kPromptsMax) {
    return bad_request("prompt has " + std::to_string(value.size()) + " entries, more than " +
                           std::to_string(kPromptsMax),
                       name, "invalid_value");
  }
  for (const json& one : value) {
    if (one.is_string()) {
      ask->prompts.emplace_back(one.get<std::string>());
    } else if (one.is_array() && !one.empty()) {
      std::vector<model::TokenId> ids;
      if (Error error = read_ids(one, name, &ids)) return error;
      ask->prompts.emplace_back(std::move(ids));
    } else {
      return wrong_type(one, name, kExpected);
    }
  }
  return std::nullopt;
}

Error read_n(const json& value, const std::string& name, GenerationAsk* ask) {
  std::uint64_t n = 0;
  Error error = read_whole(value, name, 1, kChoicesMax, &n);
  ask->n = n;
  return error;
}

// Reads a seed, which is any number of 64 bits; a negative one stands for its two's complement.
Error read_seed(const json& value, const std::string& name, GenerationAsk* ask) {
  if (!value.is_number()) return wrong_type(value, name, "a whole number");
  if (!value.is_number_integer()) return out_of_range(value, name, "a whole number of 64 bits");
  ask->seed = value.is_number_unsigned() ? value.get<std::uint64_t>()
                                         : static_cast<std::uint64_t>(value.get<std::int64_t>());
  return std::nullopt;
}

// Reads a priority. As in vLLM, a request of a smaller number goes first.
Error read_priority(const json& value, const std::string& name, GenerationAsk* ask) {
  const std::string expected = "a whole number from -9 to 9, of which smaller ones go first";
  if (!value.is_number()) return wrong_type(value, name, expected);
  const json least = -9, most = 9;
  if (!value.is_number_integer() || value < least || value > most) {
    return out_of_range(value, name, expected);
  }
  ask->priority = value.get<std::int32_t>();
  return std::nullopt;
}

Error read_max_tokens(const json& value, const std::string& name, GenerationAsk* ask) {
  std::uint64_t tokens = 0;
  const std::uint64_t least = ask->kind == AskKind::kCompletion ? 0 : 1;
  Error error = read_whole(value, name, least, kTokensMax, &tokens);
  ask->max_tokens = tokens;
  return error;
}

Error read_max_completion_tokens(const json& value, const std::string& name, GenerationAsk* ask) {
  std::uint64_t tokens = 0;
  Error error = read_whole(value, name, 1, kTokensMax, &tokens);
  ask->max_completion_tokens = tokens;
  return error;
}

Error read_stream(const json& value, const std::string& name, GenerationAsk* ask) {
  return read_flag(value, name, &ask->stream);
}

Error read_stream_options(const json& value, const std::string& name, GenerationAsk* ask) {
  if (!value.is_object()) return wrong_type(value, name, "an object with include_usage");
  for (const auto& [key, option] : value.items()) {
    const std::string where = name + "." + key;
    if (option.is_null()) continue;
    if (key == "include_usage") {
      if (Error error = read_flag(option, where, &ask->include_usage)) return error;
    } else if (key == "include_obfuscation" && option.is_boolean() && !option.get<bool>()) {
      continue;  // events are never padded
    } else {
      return bad_request(where + " is not supported; leave it out", where, "unsupported_parameter");
    }
  }
  return std::nullopt;
}

Error add_stop(const json& value, const std::string& name, GenerationAsk* ask) {
  if (!value.is_string()) return wrong_type(value, name, "a text or a list of texts");
  std::string text = value.get<std::string>();
  if (text.empty() || text.size() > kStopBytesMax) {
    return bad_request("a stop text has " + std::to_string(text.size()) + " bytes, expected 1 to " +
                           std::to_string(kStopBytesMax),
                       name, "invalid_value");
  }
  ask->stop.push_back(std::move(text));
  return std::nullopt;
}

Error read_stop(const json& value, const std::string& name, GenerationAsk* ask) {
  if (value.is_string()) return add_stop(value, name, ask);
  if (!value.is_array()) return wrong_type(value, name, "a text or a list of texts");
  if (value.size() > kStopsMax) {
    return bad_request("stop has " + std::to_string(value.size()) + " texts, more than " +
                           std::to_string(kStopsMax),
                       name, "invalid_value");
  }
  for (const json& one : value) {
    if (Error error = add_stop(one, name, ask)) return error;
  }
  return std::nullopt;
}

Error read_temperature(const json& value, const std::string& name, GenerationAsk* ask) {
  return read_real(value, name, 0.0, 2.0, &ask->sampling.temperature);
}

Error read_top_p(const json& value, const std::string& name, GenerationAsk* ask) {
  Error error = read_real(value, name, 0.0, 1.0, &ask->sampling.top_p);
  if (!error && ask->sampling.top_p == 0.0f) {
    return out_of_range(value, name, "a number above 0 and at most 1");
  }
  return error;
}

Error read_top_k(const json& value, const std::string& name, GenerationAsk* ask) {
  if (value == -1) return std::nullopt;  // -1 means all tokens, as in other servers
  std::uint64_t k = 0;
  Error error = read_whole(value, name, 0, 1u << 24, &k);
  ask->sampling.top_k = static_cast<std::uint32_t>(k);
  return error;
}

Error read_min_p(const json& value, const std::string& name, GenerationAsk* ask) {
  return read_real(value, name, 0.0, 1.0, &ask->sampling.min_p);
}

Error read_typical_p(const json& value, const std::string& name, GenerationAsk* ask) {
  Error error = read_real(value, name, 0.0, 1.0, &ask->sampling.typical);
  if (!error && ask->sampling.typical == 0.0f) {
    return out_of_range(value, name, "a number above 0 and at most 1");
  }
  return error;
}

Error read_repetition_penalty(const json& value, const std::string& name, GenerationAsk* ask) {
  return read_real(value, name, 0.01, 100.0, &ask->sampling.repeat_penalty);
}

Error read_presence_penalty(const json& value, const std::string& name, GenerationAsk* ask) {
  return read_real(value, name, -2.0, 2.0, &ask->sampling.presence_penalty);
}

Error read_frequency_penalty(const json& value, const std::string& name, GenerationAsk* ask) {
  return read_real(value, name, -2.0, 2.0, &ask->sampling.frequency_penalty);
}

Error read_logit_bias(const json& value, const std::string& name, GenerationAsk* ask) {
  if (!value.is_object()) return wrong_type(value, name, "an object of token ids and biases");
  if (value.size() > model::SamplingParams::kBiasesMax) {
    return bad_request("logit_bias has " + std::to_string(value.size()) + " tokens, more than " +
                           std::to_string(model::SamplingParams::kBiasesMax),
                       name, "invalid_value");
  }
  for (const auto& [key, bias] : value.items()) {
    const bool digits =
        !key.empty() && key.size() <= 9 &&
        std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits) {
      return bad_request("logit_bias names the token " + in_quotes(key) + ", expected an id", name,
                         "invalid_value");
    }
    model::LogitBias one;
    one.id = static_cast<model::TokenId>(std::stol(key));
    if (Error error = read_real(bias, name, -100.0, 100.0, &one.bias)) return error;
    ask->sampling.logit_bias.push_back(one);
  }
  return std::nullopt;
}

// Reads logprobs. For chats this is a switch, with top_logprobs beside it; for completions it is
// the number itself.
Error read_logprobs(const json& value, const std::string& name, GenerationAsk* ask) {
  if (ask->kind == AskKind::kChat) return read_flag(value, name, &ask->logprobs);
  std::uint64_t count = 0;
  Error error = read_whole(value, name, 0, model::SamplingParams::kLogprobsMax, &count);
  ask->logprobs = true;
  ask->top_logprobs = count;
  return error;
}

Error read_top_logprobs(const json& value, const std::string& name, GenerationAsk* ask) {
  std::uint64_t count = 0;
  Error error = read_whole(value, name, 0, model::SamplingParams::kLogprobsMax, &count);
  ask->top_logprobs = count;
  return error;
}

Error read_echo(const json& value, const std::string& name, GenerationAsk* ask) {
  return read_flag(value, name, &ask->echo);
}

Error read_ignore_eos(const json& value, const std::string& name, GenerationAsk* ask) {
  return read_flag(value, name, &ask->ignore_end);
}

Error read_add_generation_prompt(const json& value, const std::string& name, GenerationAsk* ask) {
  return read_flag(value, name, &ask->add_generation_prompt);
}

Error read_cache_salt(const json& value, const std::string& name, GenerationAsk* ask) {
  if (!value.is_string()) return wrong_type(value, name, "a text");
  ask->cache_salt = value.get<std::string>();
  if (!ask->cache_salt.empty() && ask->cache_salt.size() <= kSaltBytesMax) return std::nullopt;
  return bad_request(name + " has " + std::to_string(ask->cache_salt.size()) +
                         " bytes, expected 1 to " + std::to_string(kSaltBytesMax),
                     name, "invalid_value");
}

Error read_template_kwargs(const json& value, const std::string& name, GenerationAsk* ask) {
  if (!value.is_object()) return wrong_type(value, name, "an object");
  if (!value.empty()) ask->variables_json = value.dump();
  return std::nullopt;
}

// Checks that best_of equals n, because the server would otherwise compute answers that nobody
// sees.
Error read_best_of(const json& value, const std::string& name, GenerationAsk*) {
  if (value == 1) return std::nullopt;
  return bad_request("best_of is not supported; ask for several answers with n", name,
                     "unsupported_parameter");
}

// ---- fields of which only the values without an effect are accepted ----------------------------

ApiError unsupported_value(const json& value, const std::string& name, const char* accepted) {
  std::string shown = value.is_structured() ? "this value" : value.dump();
  if (shown.size() > 80) shown = "this value";
  return bad_request(name + " is not supported with " + shown + "; the server accepts " + accepted,
                     name, "unsupported_value");
}

Error only_false(const json& value, const std::string& name, GenerationAsk*) {
  if (value == false) return std::nullopt;
  return unsupported_value(value, name, "false");
}

Error usual_tier(const json& value, const std::string& name, GenerationAsk*) {
  if (value == "auto" || value == "default") return std::nullopt;
  return unsupported_value(value, name, "\"auto\" and \"default\"");
}

Error only_text(const json& value, const std::string& name, GenerationAsk*) {
  if (value == json::array({"text"})) return std::nullopt;
  return unsupported_value(value, name, "[\"text\"]");
}

Error text_format(const json& value, const std::string& name, GenerationAsk*) {
  if (value == json{{"type", "text"}}) return std::nullopt;
  return unsupported_value(value, name, "{\"type\": \"text\"}");
}

Error no_tool_choice(const json& value, const std::string& name, GenerationAsk*) {
  if (value == "none" || value == "auto") return std::nullopt;
  return unsupported_value(value, name, "\"none\" and \"auto\"");
}

Error no_effort(const json& value, const std::string& name, GenerationAsk*) {
  if (value == "none") return std::nullopt;
  return unsupported_value(value, name, "\"none\"");
}

Error medium(const json& value, const std::string& name, GenerationAsk*) {
  if (value == "medium") return std::nullopt;
  return unsupported_value(value, name, "\"medium\"");
}

Error any_flag(const json& value, const std::string& name, GenerationAsk*) {
  bool ignored = false;
  return read_flag(value, name, &ignored);
}

constexpr FieldUse kNo = FieldUse::kUnknown, kYes = FieldUse::kHonoured,
                   kIgnore = FieldUse::kIgnored, kRefuse = FieldUse::kRefused;

constexpr std::array kRows = {
    FieldRow{"model", kYes, kYes, read_model},
    FieldRow{"messages", kYes, kNo, read_messages},
    FieldRow{"prompt", kNo, kYes, read_prompt},
    FieldRow{"n", kYes, kYes, read_n},
    FieldRow{"best_of", kNo, kIgnore, read_best_of},
    FieldRow{"seed", kYes, kYes, read_seed},
    FieldRow{"max_tokens", kYes, kYes, read_max_tokens},
    FieldRow{"max_completion_tokens", kYes, kNo, read_max_completion_tokens},
    FieldRow{"stream", kYes, kYes, read_stream},
    FieldRow{"stream_options", kYes, kYes, read_stream_options},
    FieldRow{"stop", kYes, kYes, read_stop},
    FieldRow{"temperature", kYes, kYes, read_temperature},
    FieldRow{"top_p", kYes, kYes, read_top_p},
    FieldRow{"top_k", kYes, kYes, read_top_k},
    FieldRow{"min_p", kYes, kYes, read_min_p},
    FieldRow{"typical_p", kYes, kYes, read_typical_p},
    FieldRow{"repetition_penalty", kYes, kYes, read_repetition_penalty},
    FieldRow{"presence_penalty", kYes, kYes, read_presence_penalty},
    FieldRow{"frequency_penalty", kYes, kYes, read_frequency_penalty},
    FieldRow{"logit_bias", kYes, kYes, read_logit_bias},
    FieldRow{"logprobs", kYes, kYes, read_logprobs},
    FieldRow{"top_logprobs", kYes, kNo, read_top_logprobs},
    FieldRow{"echo", kNo, kYes, read_echo},
    FieldRow{"ignore_eos", kYes, kYes, read_ignore_eos},
    FieldRow{"cache_salt", kYes, kYes, read_cache_salt},
    FieldRow{"priority", kYes, kYes, read_priority},
    FieldRow{"add_generation_prompt", kYes, kNo, read_add_generation_prompt},
    FieldRow{"chat_template_kwargs", kYes, kNo, read_template_kwargs},

    FieldRow{"metadata", kIgnore, kNo, nullptr},
    FieldRow{"user", kIgnore, kIgnore, nullptr},
    FieldRow{"safety_identifier", kIgnore, kNo, nullptr},
    FieldRow{"prompt_cache_key", kIgnore, kNo, nullptr},
    FieldRow{"prompt_cache_options", kIgnore, kNo, nullptr},
    FieldRow{"prompt_cache_retention", kIgnore, kNo, nullptr},
    FieldRow{"store", kIgnore, kNo, only_false},
    FieldRow{"service_tier", kIgnore, kNo, usual_tier},
    FieldRow{"modalities", kIgnore, kNo, only_text},
    FieldRow{"response_format", kIgnore, kNo, text_format},
    FieldRow{"tool_choice", kIgnore, kNo, no_tool_choice},
    FieldRow{"function_call", kIgnore, kNo, no_tool_choice},
    FieldRow{"parallel_tool_calls", kIgnore, kNo, any_flag},
    FieldRow{"reasoning_effort", kIgnore, kNo, no_effort},
    FieldRow{"verbosity", kIgnore, kNo, medium},

    FieldRow{"audio", kRefuse, kNo, nullptr},
    FieldRow{"chat_template", kRefuse, kNo, nullptr},
    FieldRow{"functions", kRefuse, kNo, nullptr},
    FieldRow{"moderation", kRefuse, kNo, nullptr},
    FieldRow{"prediction", kRefuse, kNo, nullptr},
    FieldRow{"suffix", kNo, kRefuse, nullptr},
    FieldRow{"tools", kRefuse, kNo, nullptr},
    FieldRow{"web_search_options", kRefuse, kNo, nullptr},
};

}  // namespace

std::span<const FieldRow> field_rows() { return kRows; }

FieldUse use_of(const FieldRow& row, AskKind kind) {
  return kind == AskKind::kChat ? row.chat : row.completion;
}

}  // namespace troupe::http
