#pragma once

#include <cstdint>
#include <vector>

#include <troupe/model/files/gguf.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/training/data_rows.h>
#include <troupe/model/training/dataset.h>
#include <troupe/model/training/example.h>

// Hides tokens of a text, so that an encoder learns to find them. The choice is a pure function of
// the seed, the epoch, the example's number in the data and the position, so that micro-batches,
// threads and a resumed run hide the same. Special tokens are never hidden, and never stand for a
// hidden one. Source: Devlin et al. 2019, section 3.1.

namespace troupe::model {

struct MaskingOptions {
  double rate = 0.15;  // the part of the tokens that is hidden
  std::uint64_t seed = 0;
  TokenId mask = -1;              // the token that stands for hidden ones; -1: nothing is hidden
  std::vector<TokenId> ordinary;  // the tokens that are not special, ascending
};

// The purpose for which tokens are hidden: validation hides the same ones each time.
enum class MaskingUse : std::uint8_t { kTraining, kValidation };

// Returns the example with a part of its tokens hidden: about `rate` of them, but at least one. The
// hidden tokens are the targets: 80 % of them are replaced by the mask, 10 % by a token that is
// drawn, and the others stay.
Example masked(const Example& example, const MaskingOptions& options, MaskingUse use);
// Says whether there is a token among these ids that masked() can hide.
bool can_be_masked(const std::vector<TokenId>& ids, const MaskingOptions& options);

// Takes the mask, and the tokens that are not special, from a model's tokenizer.
//   Errors: kFailedPrecondition if it has no mask.
Result<MaskingOptions> masking_of(const GgufHeader& header, const Tokenizer& tokenizer);

// Makes texts for masked tokens: each row is cut into windows of length_max tokens, including the
// tokens that the tokenizer puts around a text. The examples have no targets: masked() draws them
// anew each epoch.
//   Errors: kBadData if no row has a token that can be hidden.
Result<Dataset> masked_dataset(const DataRows& rows, const Tokenizer& tokenizer,
                               const DatasetOptions& options, const MaskingOptions& masking);

}  // namespace troupe::model
