#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/text/regex.h>
#include <troupe/model/tokenizer/normalizer.h>
#include <troupe/runtime/status.h>

// How text is cut into words before a model of tokens sees them: a list of cuts, each applied to
// the words that the one before has left. Families of GGUF files are rows of a table by the name
// that the files give (tokenizer.ggml.pre); tokenizer.json lists its own cuts.
// Immutable; any thread may cut.

namespace troupe::model {

// WordList point into the text, which must outlive them, or into `made`.
struct WordList {
  std::vector<std::string_view> words;
  std::deque<std::string> made;
  bool at_start = true;  // the first word begins where the whole text begins
};
using Cut = std::function<Status(WordList*)>;

// What becomes of a match. Source: SplitDelimiterBehavior of Hugging Face's tokenizers.
enum class SplitBehavior : std::uint8_t {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};
// `inverted`: what lies between the matches is the delimiter.
Cut split_cut(Regex regex, SplitBehavior behavior, bool inverted);
// The bytes of `text` as the delimiter.
Cut literal_cut(std::string text, SplitBehavior behavior, bool inverted);
Cut digits_cut(bool individual);
Cut white_space_cut();       // words of \w+ and of other signs; white space goes
Cut white_space_only_cut();  // only white space parts words, and goes
Cut punctuation_cut(SplitBehavior behavior);
Cut bert_cut();
enum class PrependScheme : std::uint8_t { kAlways, kFirst, kNever };
// Spaces become `replacement`; each word then begins with one.
Cut metaspace_cut(std::string replacement, PrependScheme scheme, bool split);
// GPT-2's own cut, where `use_regex`; a space before each word that lacks one, where asked for.
Cut byte_level_cut(bool add_prefix_space, bool use_regex);

struct PreTokenizer {
  std::vector<Normalizer> normalizers;
  std::vector<Cut> cuts;
  bool whole_words = false;  // a word that is a token as it stands is taken without merging
  bool adds_bos = false;     // what tokenizer.ggml.add_bos_token is when the file does not say

  // A family of byte-level BPE. kBadData names the unknown name and the ones that are known.
  static Result<PreTokenizer> find(std::string_view name);
};

// Applies the cuts in order.
Status cut_words(const std::vector<Cut>& cuts, WordList* words);

}  // namespace troupe::model
