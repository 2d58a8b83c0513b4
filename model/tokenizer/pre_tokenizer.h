#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/text/regex.h>
#include <troupe/runtime/status.h>

// How text is cut into words before a word model sees them: by a list of cuts, each applied to the
// words that the previous cut has left. GGUF files name a list (pre_tokenizer_families.h);
// tokenizer.json has its own. Immutable; any thread may cut.

namespace troupe::model {

// Words that point into the text, which must outlive them, or into `made`.
struct WordList {
  std::vector<std::string_view> words;
  std::deque<std::string> made;
  bool at_start = true;  // the first word begins where the whole text begins
};
using Cut = std::function<Status(WordList*)>;

// What happens to a match. Source: SplitDelimiterBehavior of Hugging Face's tokenizers.
enum class SplitBehavior : std::uint8_t {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};
// Cuts at the matches of `regex`. If `inverted`, the text between the matches is the delimiter.
Cut split_cut(Regex regex, SplitBehavior behavior, bool inverted);
// Cuts at the bytes of `text`.
Cut literal_cut(std::string text, SplitBehavior behavior, bool inverted);
Cut digits_cut(bool individual);
Cut white_space_cut();       // makes words of \w+ and words of other signs; removes white space
Cut white_space_only_cut();  // cuts at white space only, and removes it
Cut punctuation_cut(SplitBehavior behavior);
Cut bert_cut();
enum class PrependScheme : std::uint8_t { kAlways, kFirst, kNever };
// Writes `replacement` for every space, and cuts so that each word begins with one if `split`.
Cut metaspace_cut(std::string replacement, PrependScheme scheme, bool split);
// Makes GPT-2's own cut if `use_regex`, after it puts a space before each word that lacks one if
// `add_prefix_space`.
Cut byte_level_cut(bool add_prefix_space, bool use_regex);

// Cuts words as ByteLevel writes them in its alphabet: each word is written in it and cut, and the
// pieces are turned back into bytes. A piece may end in the middle of a character.
Cut byte_alphabet_cut(Cut inner);

// Applies the cuts in order.
Status cut_words(const std::vector<Cut>& cuts, WordList* words);

}  // namespace troupe::model
