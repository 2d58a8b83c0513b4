#include <algorithm>
#include <set>

#include <troupe/actors/http/answer_json.h>
#include <troupe/actors/http/json_text.h>
#include <troupe/actors/http/text_offsets.h>

namespace troupe::http {
namespace {

std::string bytes_of(const model::Tokenizer& tokenizer, model::TokenId id) {
  const Result<std::string> piece = tokenizer.piece(id, /*with_special=*/true);
  return piece ? *piece : std::string();
}

// "token":...,"logprob":...,"bytes":[...]
void append_token(std::string_view bytes, float logprob, std::string* out) {
  *out += "\"token\":";
  append_json_string(bytes, out);
  *out += ",\"logprob\":";
  append_json_float(logprob, out);
  *out += ",\"bytes\":";
  append_json_bytes(bytes, out);
}

void append_head(const AnswerHead& head, const char* object, std::string* out) {
  *out += "{\"id\":";
  append_json_string(head.id, out);
  *out += ",\"object\":\"";
  *out += object;
  *out += "\",\"created\":" + std::to_string(head.created_s) + ",\"model\":";
  append_json_string(head.model, out);
  *out += ",\"system_fingerprint\":";
  append_json_string(head.fingerprint, out);
}

void append_choice_end(const ChoiceJson& choice, std::string* out) {
  *out += ",\"logprobs\":";
  *out += choice.logprobs.empty() ? "null" : choice.logprobs;
  *out += ",\"finish_reason\":";
  append_json_string_or_null(choice.finish_reason, out);
  *out += '}';
}

const char* chunk_object(AskKind kind) {
  return kind == AskKind::kChat ? "chat.completion.chunk" : "text_completion";
}

}  // namespace

void LogprobList::add(const model::Tokenizer& tokenizer,
                      const std::vector<model::TokenLogprob>& logprobs, std::size_t text_offset) {
  if (logprobs.empty()) return;
  if (kind_ == AskKind::kCompletion) {
    return add_to_columns(tokenizer, logprobs[0].id, logprobs, text_offset);
  }
  entries_ += count_++ > 0 ? ",{" : "{";
  append_token(bytes_of(tokenizer, logprobs[0].id), logprobs[0].logprob, &entries_);
  entries_ += ",\"top_logprobs\":[";
  for (std::size_t i = 1; i < logprobs.size(); ++i) {
    entries_ += i == 1 ? "{" : ",{";
    append_token(bytes_of(tokenizer, logprobs[i].id), logprobs[i].logprob, &entries_);
    entries_ += '}';
  }
  entries_ += "]}";
}

void LogprobList::add_prompt(const model::Tokenizer& tokenizer,
                             const std::vector<model::TokenId>& ids, std::string_view text,
                             const std::vector<std::vector<model::TokenLogprob>>& scores,
                             std::size_t top) {
  const std::vector<std::size_t> offsets = text_offsets(tokenizer, ids, text);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    std::span<const model::TokenLogprob> known;
    if (i > 0 && i - 1 < scores.size()) known = scores[i - 1];
    add_to_columns(tokenizer, ids[i], known.first(std::min(known.size(), top + 1)), offsets[i]);
  }
}

void LogprobList::add_to_columns(const model::Tokenizer& tokenizer, model::TokenId id,
                                 std::span<const model::TokenLogprob> logprobs,
                                 std::size_t text_offset) {
  const char* const comma = count_++ > 0 ? "," : "";
  tokens_ += comma;
  append_json_string(bytes_of(tokenizer, id), &tokens_);
  offsets_ += comma + std::to_string(text_offset);
  logprobs_ += comma;
  tops_ += comma;
  if (logprobs.empty()) {
    logprobs_ += "null";
    tops_ += "null";
    return;
  }
  append_json_float(logprobs[0].logprob, &logprobs_);
  // Lists the likeliest tokens by their texts. If several have one text, the likeliest of them
  // counts.
  tops_ += '{';
  std::set<std::string> seen;
  for (std::size_t i = 1; i < logprobs.size(); ++i) {
    std::string key;
    append_json_string(bytes_of(tokenizer, logprobs[i].id), &key);
    if (!seen.insert(key).second) continue;
    tops_ += (seen.size() == 1 ? "" : ",") + key + ":";
    append_json_float(logprobs[i].logprob, &tops_);
  }
  tops_ += '}';
}

std::string LogprobList::json() const {
  if (kind_ == AskKind::kChat) return "{\"content\":[" + entries_ + "],\"refusal\":null}";
  return "{\"tokens\":[" + tokens_ + "],\"token_logprobs\":[" + logprobs_ + "],\"top_logprobs\":[" +
         tops_ + "],\"text_offset\":[" + offsets_ + "]}";
}

void LogprobList::clear() { *this = LogprobList(kind_); }

std::string usage_json(const Usage& usage) {
  return "{\"prompt_tokens\":" + std::to_string(usage.prompt_tokens) +
         ",\"completion_tokens\":" + std::to_string(usage.completion_tokens) +
         ",\"total_tokens\":" + std::to_string(usage.prompt_tokens + usage.completion_tokens) +
         ",\"prompt_tokens_details\":{\"cached_tokens\":" + std::to_string(usage.cached_tokens) +
         "}}";
}

std::string answer_json(const AnswerHead& head, const std::vector<ChoiceJson>& choices,
                        const Usage& usage) {
  std::string out;
  append_head(head, head.kind == AskKind::kChat ? "chat.completion" : "text_completion", &out);
  out += ",\"seed\":" + std::to_string(head.seed) + ",\"choices\":[";
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const ChoiceJson& choice = choices[i];
    out += (i > 0 ? ",{\"index\":" : "{\"index\":") + std::to_string(choice.index);
    if (head.kind == AskKind::kChat) {
      out += ",\"message\":{\"role\":\"assistant\",\"content\":";
      append_json_string(choice.text, &out);
      out += ",\"refusal\":null}";
    } else {
      out += ",\"text\":";
      append_json_string(choice.text, &out);
    }
    append_choice_end(choice, &out);
  }
  out += "],\"usage\":" + usage_json(usage) + "}";
  return out;
}

std::string chunk_json(const AnswerHead& head, const ChoiceJson& choice, bool begins,
                       bool null_usage) {
  std::string out;
  out.reserve(320 + choice.text.size() + choice.logprobs.size());
  append_head(head, chunk_object(head.kind), &out);
  if (begins) out += ",\"seed\":" + std::to_string(head.seed);
  out += ",\"choices\":[{\"index\":" + std::to_string(choice.index);
  if (head.kind == AskKind::kChat) {
    out += ",\"delta\":{";
    if (begins) out += "\"role\":\"assistant\",";
    // The last chunk has an empty delta, unless text comes with it.
    if (begins || !choice.text.empty() || choice.finish_reason.empty()) {
      out += "\"content\":";
      append_json_string(choice.text, &out);
    }
    out += '}';
  } else {
    out += ",\"text\":";
    append_json_string(choice.text, &out);
  }
  append_choice_end(choice, &out);
  out += null_usage ? "],\"usage\":null}" : "]}";
  return out;
}

std::string usage_chunk_json(const AnswerHead& head, const Usage& usage) {
  std::string out;
  append_head(head, chunk_object(head.kind), &out);
  out += ",\"choices\":[],\"usage\":" + usage_json(usage) + "}";
  return out;
}

}  // namespace troupe::http
