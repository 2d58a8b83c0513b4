#include <algorithm>
#include <utility>

#include <troupe/model/text/unicode.h>
#include <troupe/model/tokenizer/around.h>
#include <troupe/model/training/text_words.h>

namespace troupe::model {

std::vector<TextWord> words_of(std::string_view text) {
  std::vector<TextWord> words;
  std::size_t at = 0;
  bool inside = false;
  for_each_character(text, [&](char32_t character, std::string_view bytes) {
    const bool is_alone = is_bert_punctuation(character) || is_ideograph(character);
    if (is_white_space(character)) {
      inside = false;
    } else {
      if (!inside || is_alone) words.push_back({at, at, {}});
      words.back().text += bytes;
      words.back().end = at + 1;
      inside = !is_alone;
    }
    ++at;
  });
  return words;
}

std::vector<TextWord> words_of(const std::vector<std::string>& tokens) {
  std::vector<TextWord> words;
  std::size_t at = 0;
  for (const std::string& token : tokens) {
    std::size_t count = 0;
    for_each_character(token, [&](char32_t, std::string_view) { ++count; });
    words.push_back({at, at + count, token});
    at += count + 1;
  }
  return words;
}

Result<WordIds> encode_words(const std::vector<TextWord>& words, std::size_t first,
                             const Tokenizer& tokenizer, std::size_t length_max) {
  TROUPE_ASSIGN_OR_RETURN(const TokensAround around, tokens_around(tokenizer));
  const std::size_t ends = around.before.size() + around.after.size();
  if (length_max < ends + 1)
    return Status(Code::kInvalidArgument,
                  "--max-length is " + std::to_string(length_max) +
                      ", which leaves no room for text beside the model's own tokens");
  const std::size_t room = length_max - around.after.size();
  WordIds out;
  out.ids = around.before;
  out.places.assign(words.size(), WordIds::kNoPlace);
  out.first = first;
  for (out.end = first; out.end < words.size(); ++out.end) {
    const TextWord& word = words[out.end];
    // The tokens that a tokenizer of bytes makes of a word depend on the space before it.
    const bool has_space = out.end > 0 && words[out.end - 1].end != word.begin;
    EncodeOptions plain;
    plain.add_special = plain.parse_special = false;
    TROUPE_ASSIGN_OR_RETURN(std::vector<TokenId> ids,
                            tokenizer.encode((has_space ? " " : "") + word.text, plain));
    if (ids.empty()) continue;
    const bool is_only = out.ids.size() == around.before.size();
    if (out.ids.size() + ids.size() > room) {
      if (!is_only) break;
      ids.resize(room - out.ids.size());
    }
    out.places[out.end] = out.ids.size();
    out.ids.insert(out.ids.end(), ids.begin(), ids.end());
  }
  out.ids.insert(out.ids.end(), around.after.begin(), around.after.end());
  return out;
}

}  // namespace troupe::model
