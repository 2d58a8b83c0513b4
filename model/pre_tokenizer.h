#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include <troupe/runtime/status.h>

// How a byte-level BPE tokenizer cuts text into words before it merges: a few regular expressions
// by the name that model files give them (tokenizer.ggml.pre). Adding one is a row of the table.
// Immutable; any thread may split.

namespace troupe::model {

class PreTokenizer {
 public:
  // kBadData names the unknown name and the ones that are known.
  static Result<std::unique_ptr<const PreTokenizer>> find(std::string_view name);
  virtual ~PreTokenizer() = default;
  // Appends the words of `text` (whole UTF-8, see utf8_valid_prefix) in order; together they are
  // `text`, and they point into it.
  virtual Status split(std::string_view text, std::vector<std::string_view>* words) const = 0;
  // A word that is a token as it stands is taken without merging.
  virtual bool whole_words() const = 0;
  // What tokenizer.ggml.add_bos_token is when the file does not say.
  virtual bool adds_bos() const = 0;
};

}  // namespace troupe::model
