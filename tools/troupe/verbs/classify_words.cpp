#include <algorithm>
#include <cstdio>
#include <span>

#include <nlohmann/json.hpp>

#include <troupe/model/local/evaluate.h>
#include <troupe/runtime/numerics/elementary.h>
#include <troupe/runtime/text/utf8.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs/classify_words.h>

namespace troupe::tools {
namespace {

using nlohmann::ordered_json;

double probability_of(std::span<const float> logits, std::size_t index) {
  double sum = 0.0;
  for (const float logit : logits) sum += static_cast<double>(exp_bits(logit - logits[index]));
  return 1.0 / sum;
}

// Returns the text of words, which shows only whether a space or nothing was between them.
std::string joined(const std::vector<model::TextWord>& words, std::size_t first,
                   std::size_t count) {
  std::string text;
  for (std::size_t i = first; i < first + count; ++i) {
    if (i > first && words[i].begin != words[i - 1].end) text += ' ';
    text += words[i].text;
  }
  return text;
}

ordered_json word_object(const model::TextWord& first, const model::TextWord& last,
                         const std::string& text, const std::string& label, double probability) {
  return {{"start", first.begin},
          {"end", last.end},
          {"text", text},
          {"label", label},
          {"probability", probability}};
}

}  // namespace

Result<WordLabels> label_words(model::Stage& whole_model, const model::Tokenizer& tokenizer,
                               const std::vector<model::TextWord>& words, std::size_t length_max) {
  const std::size_t labels = whole_model.config().labels;
  WordLabels found;
  found.labels.assign(words.size(), WordLabels::kNoLabel);
  found.probabilities.assign(words.size(), 0.0);
  for (std::size_t first = 0; first < words.size();) {
    TROUPE_ASSIGN_OR_RETURN(const model::WordIds part,
                            model::encode_words(words, first, tokenizer, length_max));
    first = part.end;
    TROUPE_ASSIGN_OR_RETURN(const std::vector<float> logits,
                            model::sequence_logits(whole_model, part.ids, {}, part.ids.size()));
    for (std::size_t i = part.first; i < part.end; ++i) {
      if (part.places[i] == model::WordIds::kNoPlace) continue;
      const auto row = std::span(logits).subspan(part.places[i] * labels, labels);
      found.labels[i] =
          static_cast<std::size_t>(std::max_element(row.begin(), row.end()) - row.begin());
      found.probabilities[i] = probability_of(row, found.labels[i]);
    }
  }
  return found;
}

void print_words(const std::vector<model::TextWord>& words, const WordLabels& found,
                 const std::vector<std::string>& names, bool json) {
  std::vector<std::string> labels;
  for (const std::size_t label : found.labels)
    labels.push_back(label == WordLabels::kNoLabel ? "" : names[label]);
  const bool has_entities = model::are_entity_labels(names);
  ordered_json tokens = ordered_json::array(), entities = ordered_json::array();
  for (std::size_t i = 0; i < words.size(); ++i)
    if (!labels[i].empty())
      tokens.push_back(
          word_object(words[i], words[i], words[i].text, labels[i], found.probabilities[i]));
  for (const model::WordSpan& span : model::entities_of(labels)) {
    const auto from = found.probabilities.begin() + static_cast<std::ptrdiff_t>(span.first);
    const double least = *std::min_element(from, from + static_cast<std::ptrdiff_t>(span.count));
    entities.push_back(word_object(words[span.first], words[span.first + span.count - 1],
                                   joined(words, span.first, span.count), span.label, least));
  }
  if (json) {
    ordered_json out = {{"tokens", tokens}};
    if (has_entities) out["entities"] = entities;
    return print_json(nlohmann::json(out));
  }
  for (const ordered_json& one : has_entities ? entities : tokens)
    std::printf(
        "%s\t%s\t%.4f\n", plain_line(one["text"].get_ref<const std::string&>(), 4096).c_str(),
        one["label"].get_ref<const std::string&>().c_str(), one["probability"].get<double>());
}

}  // namespace troupe::tools
