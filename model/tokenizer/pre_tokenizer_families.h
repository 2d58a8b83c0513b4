#pragma once

#include <string_view>
#include <vector>

#include <troupe/model/tokenizer/normalizer.h>
#include <troupe/model/tokenizer/pre_tokenizer.h>
#include <troupe/runtime/status.h>

// The families of byte-level BPE by the names that GGUF files give them (tokenizer.ggml.pre). A
// family is one row of a table.

namespace troupe::model {

struct PreTokenizer {
  std::vector<Normalizer> normalizers;
  std::vector<Cut> cuts;
  bool whole_words = false;  // a word that is a token as a whole is taken without merging
  bool adds_bos = false;     // the value of tokenizer.ggml.add_bos_token if the file has none
};

// The same as texts, for a file that another program reads. Each pattern cuts the pieces that the
// previous one has left.
struct PreTokenizerPatterns {
  std::vector<std::string_view> patterns;  // valid for good
  bool whole_words = false;
  bool composes = false;  // the text is brought to NFC first
};

// Errors: kBadData names the unknown name and the known ones.
Result<PreTokenizerPatterns> pre_tokenizer_patterns(std::string_view name);
// Returns the first family with these patterns and flags, or "" if there is none.
std::string_view pre_tokenizer_name(const PreTokenizerPatterns& patterns);
// Errors: the same.
Result<PreTokenizer> find_pre_tokenizer(std::string_view name);

}  // namespace troupe::model
