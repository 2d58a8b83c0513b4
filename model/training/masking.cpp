#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include <troupe/model/files/header_keys.h>
#include <troupe/model/tokenizer/around.h>
#include <troupe/model/training/masking.h>
#include <troupe/model/training/text_limits.h>
#include <troupe/runtime/numerics/philox.h>
#include <troupe/runtime/text/bounded_json.h>

namespace troupe::model {
namespace {

// A number that separates the draws of masks from other draws of the same seed.
constexpr std::uint32_t kMaskChoice = 0x6d61736b, kValidationMaskChoice = 0x6d61736c;

bool is_ordinary(TokenId id, const MaskingOptions& options) {
  return std::binary_search(options.ordinary.begin(), options.ordinary.end(), id);
}

// Draws the words that decide about each position of an example.
class MaskDraws {
 public:
  MaskDraws(const Example& example, const MaskingOptions& options, MaskingUse use)
      : example_(example.number) {
    // The key is drawn from seed and epoch, so that seed 1 in epoch 0 is not seed 0 in epoch 1.
    const std::uint64_t epoch = use == MaskingUse::kTraining ? example.epoch : 0;
    key_ = philox4x32({low(epoch), high(epoch),
                       use == MaskingUse::kTraining ? kMaskChoice : kValidationMaskChoice, 0},
                      {low(options.seed), high(options.seed)});
  }
  std::array<std::uint32_t, 4> at(std::size_t position) const {
    return philox4x32({low(position), high(position), low(example_), high(example_)},
                      {key_[0], key_[1]});
  }

 private:
  static std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
  static std::uint32_t high(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }
  const std::uint64_t example_;
  std::array<std::uint32_t, 4> key_{};
};

// Returns "mask_token" of a JSON text, which is a text or an object with one.
std::optional<std::string> mask_named_in(const GgufHeader& header, std::string_view key) {
  if (!header.metadata.contains(key)) return std::nullopt;
  const Result<std::string> text = header.string(key);
  if (!text) return std::nullopt;
  const Result<nlohmann::json> read = parse_json(*text, std::string(key), kTextLimits);
  if (!read || !read->is_object()) return std::nullopt;
  auto found = read->find("mask_token");
  if (found == read->end()) return std::nullopt;
  if (found->is_object()) {
    const auto content = found->find("content");
    if (content == found->end() || !content->is_string()) return std::nullopt;
    return content->get<std::string>();
  }
  if (!found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

// Returns the id of the mask, or -1.
Result<TokenId> mask_of(const GgufHeader& header, const Tokenizer& tokenizer) {
  constexpr std::string_view kGgufMask = "tokenizer.ggml.mask_token_id";
  if (header.metadata.contains(kGgufMask)) {
    TROUPE_ASSIGN_OR_RETURN(const std::uint64_t id, header.u64(kGgufMask));
    return id < tokenizer.vocabulary() ? static_cast<TokenId>(id) : TokenId{-1};
  }
  std::vector<std::string> names;
  for (const std::string_view key :
       {header_keys::kTokenizerConfigJson, header_keys::kSpecialTokensMapJson})
    if (auto name = mask_named_in(header, key)) names.push_back(std::move(*name));
  for (const char* name : {"[MASK]", "<mask>"}) names.emplace_back(name);
  for (const std::string& name : names) {
    EncodeOptions whole;
    whole.add_special = false;
    TROUPE_ASSIGN_OR_RETURN(const std::vector<TokenId> ids, tokenizer.encode(name, whole));
    if (ids.size() != 1) continue;
    TROUPE_ASSIGN_OR_RETURN(const std::string piece, tokenizer.piece(ids[0], true));
    // Tokenizers of whole words put a space before it.
    if (piece == name || piece == " " + name) return ids[0];
  }
  return TokenId{-1};
}

}  // namespace

bool can_be_masked(const std::vector<TokenId>& ids, const MaskingOptions& options) {
  return std::any_of(ids.begin(), ids.end(), [&](TokenId id) { return is_ordinary(id, options); });
}

Example masked(const Example& example, const MaskingOptions& options, MaskingUse use) {
  const MaskDraws draws(example, options, use);
  const auto limit = static_cast<std::uint64_t>(options.rate * 0x1p32);
  Example out = example;
  out.targets.assign(example.ids.size(), kNoTarget);
  std::size_t likeliest = example.ids.size(), hidden = 0;
  std::uint32_t least = 0;
  const auto hide = [&](std::size_t position, const std::array<std::uint32_t, 4>& words) {
    constexpr std::uint32_t kMasked = 0xcccccccc, kDrawn = 0xe6666666;  // 80 and 90 % of 2^32
    out.targets[position] = example.ids[position];
    const std::uint64_t drawn = std::uint64_t{words[2]} * options.ordinary.size() >> 32;
    if (words[1] < kMasked) {
      out.ids[position] = options.mask;
    } else if (words[1] < kDrawn) {
      out.ids[position] = options.ordinary[drawn];
    }
    ++hidden;
  };
  for (std::size_t position = 0; position < example.ids.size(); ++position) {
    if (!is_ordinary(example.ids[position], options)) continue;
    const std::array<std::uint32_t, 4> words = draws.at(position);
    if (likeliest == example.ids.size() || words[0] < least) {
      likeliest = position;
      least = words[0];
    }
    if (words[0] < limit) hide(position, words);
  }
  if (hidden == 0 && likeliest != example.ids.size()) hide(likeliest, draws.at(likeliest));
  return out;
}

Result<MaskingOptions> masking_of(const GgufHeader& header, const Tokenizer& tokenizer) {
  MaskingOptions options;
  TROUPE_ASSIGN_OR_RETURN(options.mask, mask_of(header, tokenizer));
  if (options.mask < 0)
    return Status(Code::kFailedPrecondition,
                  "the model's tokenizer has no token such as [MASK] that stands for hidden ones; "
                  "take the folder of an encoder that was trained on masked tokens");
  for (std::size_t i = 0; i < tokenizer.vocabulary(); ++i) {
    const auto id = static_cast<TokenId>(i);
    TROUPE_ASSIGN_OR_RETURN(const std::string piece, tokenizer.piece(id, /*with_special=*/false));
    if (!piece.empty() && id != options.mask) options.ordinary.push_back(id);
  }
  return options;
}

Result<Dataset> masked_dataset(const DataRows& rows, const Tokenizer& tokenizer,
                               const DatasetOptions& options, const MaskingOptions& masking) {
  TROUPE_ASSIGN_OR_RETURN(const TokensAround around, tokens_around(tokenizer));
  const std::size_t ends = around.before.size() + around.after.size();
  if (options.length_max < ends + 1)
    return Status(Code::kInvalidArgument,
                  "--max-length is " + std::to_string(options.length_max) +
                      ", which leaves no room for text beside the model's own tokens");
  const std::size_t room = options.length_max - ends;
  Dataset dataset;
  dataset.dropped = rows.dropped;
  for (const DataRow& row : rows.rows) {
    EncodeOptions plain;  // text is data: markup in it stays plain text
    plain.add_special = plain.parse_special = false;
    TROUPE_ASSIGN_OR_RETURN(const std::vector<TokenId> ids, tokenizer.encode(row.text, plain));
    const std::size_t before = dataset.examples.size();
    for (std::size_t first = 0; first < ids.size(); first += room) {
      Example example;
      example.ids = around.before;
      const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(first);
      example.ids.insert(example.ids.end(), begin,
                         begin + static_cast<std::ptrdiff_t>(std::min(room, ids.size() - first)));
      example.ids.insert(example.ids.end(), around.after.begin(), around.after.end());
      if (!can_be_masked(example.ids, masking)) continue;
      example.number = dataset.examples.size();
      dataset.examples.push_back(std::move(example));
    }
    if (dataset.examples.size() == before)
      dataset.dropped.push_back({row.line, "it has no token that can be hidden"});
  }
  if (dataset.examples.empty())
    return Status(Code::kBadData,
                  "no row has a token that can be hidden, so there is nothing to "
                  "find");
  return dataset;
}

}  // namespace troupe::model
