#pragma once

#include <string_view>

// The metadata keys of our own that travel in a GGUF header. A Hugging Face folder is read as one
// GGUF file (source/hf_folder.h), and these keys of its header state what GGUF has no key for. The
// header reaches every node that runs a part of the model, so a key never changes its name or its
// meaning.

namespace troupe::model::header_keys {

// A bool: false if the rotated pairs of q and k are half a head apart.
inline constexpr std::string_view kRopeInterleaved = "troupe.rope.interleaved";
// An array of strings, sorted: the names of the matrices that are stored as (inputs, outputs).
inline constexpr std::string_view kTransposed = "troupe.transposed";
// A bool: whether the output matrix is the embedding.
inline constexpr std::string_view kTiedEmbedding = "troupe.tied_embedding";
// An integer: the first layer that has a sliding window.
inline constexpr std::string_view kSlidingWindowBegin = "troupe.sliding_window_begin";
// An integer n: every n-th layer does not rotate q and k.
inline constexpr std::string_view kUnrotatedPeriod = "troupe.unrotated_period";
// A number that multiplies the rotated pairs, and an array of numbers, each of which divides the
// frequency of a pair.
inline constexpr std::string_view kRopeMagnitude = "troupe.rope.magnitude";
inline constexpr std::string_view kRopeDivisors = "troupe.rope.divisors";
// A bool: false if the ramp of YaRN does not end at whole pairs.
inline constexpr std::string_view kRopeWholePairs = "troupe.rope.whole_pairs";
// Bools: whether q, k, v and the attention's output have biases, and whether the feed-forward
// network has some.
inline constexpr std::string_view kAttentionBias = "troupe.attention_bias";
inline constexpr std::string_view kFeedForwardBias = "troupe.feed_forward_bias";
// An array of two integers: how many rows and columns of a matrix share a scale, where the shapes
// of the matrix and of its scales leave that open (files/weight_scales.h).
inline constexpr std::string_view kScaleBlock = "troupe.scale_block";
// An array of integers: the layers of a mixture of experts that have no experts.
inline constexpr std::string_view kDenseLayers = "troupe.dense_layers";
// A number that is added to every norm weight.
inline constexpr std::string_view kNormOffset = "troupe.norm_offset";
// An integer: the row of the position embedding that belongs to position 0.
inline constexpr std::string_view kPositionOffset = "troupe.position_offset";
// A string: what the pooler of an encoder does to its rows, "relu" or "gelu" instead of tanh. A
// bool: whether it takes the mean of all rows, instead of the first row.
inline constexpr std::string_view kPoolerActivation = "troupe.pooler_activation";
inline constexpr std::string_view kPoolerMean = "troupe.pooler_mean";
// A string: "token" if the classification head of an encoder reads every row, without a pooler.
inline constexpr std::string_view kEncoderHead = "troupe.encoder_head";
// A number: what the low-rank adapters beside the matrices are multiplied by
// (source/adapted_model.h).
inline constexpr std::string_view kAdapterScale = "troupe.adapter.scale";
// An array of integers: the token ids at which config.json says that generation ends.
inline constexpr std::string_view kEndTokenIds = "troupe.end_token_ids";

// Strings: the texts of the folder's files, so that every process that has the header can make a
// tokenizer and a chat template.
inline constexpr std::string_view kConfigJson = "troupe.config_json";
inline constexpr std::string_view kGenerationConfigJson = "troupe.generation_config_json";
inline constexpr std::string_view kTokenizerJson = "troupe.tokenizer_json";
inline constexpr std::string_view kTokenizerConfigJson = "troupe.tokenizer_config_json";
inline constexpr std::string_view kSpecialTokensMapJson = "troupe.special_tokens_map_json";
inline constexpr std::string_view kAddedTokensJson = "troupe.added_tokens_json";
inline constexpr std::string_view kChatTemplateJinja = "troupe.chat_template_jinja";
inline constexpr std::string_view kToolTemplateJinja = "troupe.chat_template_jinja.tool_use";
inline constexpr std::string_view kDefaultTemplateJinja = "troupe.chat_template_jinja.default";
inline constexpr std::string_view kChatTemplateJson = "troupe.chat_template_json";
inline constexpr std::string_view kVocabTxt = "troupe.vocab_txt";

}  // namespace troupe::model::header_keys
