#pragma once

#include <functional>
#include <string>
#include <vector>

#include <troupe/model/text/regex.h>
#include <troupe/model/text/unicode.h>
#include <troupe/model/tokenizer/added_tokens.h>
#include <troupe/model/tokenizer/charsmap.h>
#include <troupe/runtime/status.h>

// Changes to a text before it is cut into words. Pure functions; any thread may call them.
// Source: the normalizers of Hugging Face's tokenizers, and SentencePiece's for "llama" files.

namespace troupe::model {

using Normalizer = std::function<Status(std::string* text)>;

Normalizer form_normalizer(NormalForm form);
Normalizer lower_case_normalizer();
Normalizer strip_accents_normalizer();  // removes every mark
Normalizer strip_normalizer(bool left, bool right);
Normalizer prepend_normalizer(std::string prefix);  // leaves an empty text empty
Normalizer replace_normalizer(std::string from, std::string to);
Normalizer replace_normalizer(Regex from, std::string to);

struct BertNormalization {
  bool clean_text = true;
  bool split_ideographs = true;
  bool strip_accents = true;
  bool lower_case = true;
};
Normalizer bert_normalizer(BertNormalization options);

// Replaces characters as Hugging Face's tokenizers do it with a SentencePiece model's map.
Normalizer charsmap_normalizer(Charsmap map);
// Replaces characters as SentencePiece itself does it. The tokens of `kept` stay as they are.
Normalizer charsmap_normalizer(Charsmap map, AddedTokens kept);

// What SentencePiece writes for a space, U+2581.
inline constexpr std::string_view kSpaceMark = "\xe2\x96\x81";

// Returns SentencePiece's normalizer. If asked for, it removes white space at the ends and makes
// runs of it one space, and it puts a space in front. Then it writes kSpaceMark for every space.
Normalizer sentence_normalizer(bool remove_extra_spaces, bool add_prefix);

// Applies the normalizers in order.
Status normalize_text(const std::vector<Normalizer>& normalizers, std::string* text);

}  // namespace troupe::model
