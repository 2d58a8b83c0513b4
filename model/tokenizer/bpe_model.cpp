#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include <troupe/model/tokenizer/bpe_model.h>
#include <troupe/model/tokenizer/vocabulary.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {

BpeModel::BpeModel(Options options, const std::vector<std::string>& tokens)
    : options_(options), count_(tokens.size()), symbols_(tokens.size()) {
  if (!options_.byte_level) owned_ = tokens;
  tokens_ = options_.byte_level ? &tokens : &owned_;
  bytes_.fill(StringIndex::kAbsent);
  if (options_.whole_words) words_.emplace(count_);
  for (std::size_t i = 0; i < count_; ++i) {
    const std::string& text = (*tokens_)[i];
    const auto id = static_cast<std::int32_t>(i);
    if (text.empty()) continue;
    longest_ = std::max(longest_, text.size());
    symbols_.put(text, id);
    if (const int byte = fallback_byte(text); options_.byte_fallback && byte >= 0) {
      bytes_[static_cast<std::size_t>(byte)] = id;
    }
    if (options_.whole_words && options_.byte_level) {
      std::string& word = word_texts_.emplace_back();
      if (append_byte_level(text, &word)) {
        words_->put(word, id);
      } else {
        word_texts_.pop_back();
      }
    } else if (options_.whole_words) {
      words_->put(text, id);
    }
  }
  if (!options_.byte_level) return;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    bytes_[byte] = symbols_.find(byte_level_character(static_cast<unsigned char>(byte)));
  }
}

std::int32_t BpeModel::part_id(std::string_view text) {
  std::int32_t id = symbols_.find(text);
  if (id == StringIndex::kAbsent) {
    id = static_cast<std::int32_t>(count_ + parts_.size());
    symbols_.put(parts_.emplace_back(text), id);
  }
  return id;
}

Status BpeModel::load_merges(
    const std::vector<std::pair<std::string_view, std::string_view>>& merges,
    bool parts_may_be_unknown, std::string_view what) {
  merges_.emplace(merges.size());
  // Most vocabularies list the joined tokens in the order of the merges, so the token after the
  // last one is tried before the index.
  const auto is_joined = [&](std::size_t id, std::string_view left, std::string_view right) {
    if (id >= count_) return false;
    const std::string& text = (*tokens_)[id];
    return text.size() == left.size() + right.size() && text.starts_with(left) &&
           text.ends_with(right);
  };
  std::string text;
  std::int32_t joined = -1;
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    if (is_joined(static_cast<std::size_t>(joined) + 1, left, right)) {
      ++joined;
    } else {
      text.assign(left).append(right);
      joined = part_id(text);
    }
    const std::int32_t parts[2] = {part_id(left), part_id(right)};
    if (!parts_may_be_unknown && !parts_.empty()) {
      return Status(Code::kBadData, "merge " + std::to_string(rank) + " of " + std::string(what) +
                                        ", " + in_quotes(left) + " with " + in_quotes(right) +
                                        ", needs " + in_quotes(parts_.front()) +
                                        ", which is not a token of the vocabulary");
    }
    merges_->put(parts[0], parts[1], {static_cast<std::uint32_t>(rank), joined});
  }
  if (options_.byte_level) {
    symbols_ = StringIndex(0);
    tokens_ = nullptr;
  }
  return Status::ok();
}

void BpeModel::load_scores(const std::vector<double>& scores, const std::vector<bool>& merges,
                           const std::vector<bool>& unused) {
  std::vector<std::size_t> order(count_);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  const auto can_merge = [&](std::int32_t id) {
    return static_cast<std::size_t>(id) >= count_ || merges[static_cast<std::size_t>(id)];
  };
  // A part must be a token or a single character.
  const auto part = [&](std::string_view text) {
    const std::int32_t id = symbols_.find(text);
    if (id >= 0) return can_merge(id) ? id : -1;
    return utf8_char(text).bytes == text.size() ? part_id(text) : -1;
  };
  struct Pair {
    std::int32_t left, right;
    MergeTable::Merge merge;
  };
  std::vector<Pair> pairs;
  std::uint32_t rank = 0;  // equal scores have equal ranks, so that the leftmost merges first
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::size_t id = order[i];
    if (i > 0 && scores[id] < scores[order[i - 1]]) rank = static_cast<std::uint32_t>(i);
    const std::string_view text = (*tokens_)[id];
    if (!merges[id] || text.size() > kScoredBytesMax) continue;
    for (std::size_t cut = utf8_char(text).bytes; cut < text.size();
         cut += utf8_char(text.substr(cut)).bytes) {
      const std::int32_t left = part(text.substr(0, cut));
      const std::int32_t right = part(text.substr(cut));
      if (left >= 0 && right >= 0) {
        pairs.push_back({left, right, {rank, static_cast<std::int32_t>(id)}});
      }
    }
  }
  merges_.emplace(pairs.size());
  for (const Pair& pair : pairs) merges_->put(pair.left, pair.right, pair.merge);
  std::vector<std::vector<TokenId>> replacements(count_);
  for (std::size_t id = 0; id < count_; ++id) {
    if (unused[id] && merges[id] && (*tokens_)[id].size() <= kUnusedBytesMax) {
      cut_again(static_cast<TokenId>(id), unused, &replacements[id]);
    }
  }
  replacements_ = std::move(replacements);
}

// Finds the tokens that replace an unused one: its characters, merged by all merges but its own. It
// does the same for unused parts. A part is shorter than the whole, so the recursion ends.
void BpeModel::cut_again(TokenId id, const std::vector<bool>& unused, std::vector<TokenId>* out) {
  std::vector<std::int32_t> symbols;
  append_symbols((*tokens_)[static_cast<std::size_t>(id)], &symbols);
  for (;;) {
    MergeTable::Merge best;
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const MergeTable::Merge merge = merges_->find(symbols[i], symbols[i + 1]);
      if (merge.joined == id || merge.rank >= best.rank) continue;
      best = merge;
      at = i;
    }
    if (best.rank == MergeTable::kNone) break;
    symbols[at] = best.joined;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  if (symbols.size() < 2) return;  // there is nothing to cut, so the token stays
  for (const std::int32_t symbol : symbols) {
    const auto index = static_cast<std::size_t>(symbol);
    const std::size_t before = out->size();
    if (index < count_ && unused[index]) cut_again(symbol, unused, out);
    if (out->size() == before) out->push_back(symbol);
  }
}

void BpeModel::append_unknown(std::string_view text, bool* pending,
                              std::vector<std::int32_t>* ids) const {
  const bool all = options_.byte_fallback && std::all_of(text.begin(), text.end(), [&](char byte) {
                     return bytes_[static_cast<unsigned char>(byte)] >= 0;
                   });
  if (all) {
    for (const char byte : text) ids->push_back(bytes_[static_cast<unsigned char>(byte)]);
    return;
  }
  if (options_.unknown < 0) return;
  if (!*pending || !options_.fuse_unknown) ids->push_back(options_.unknown);
  *pending = true;
}

void BpeModel::append_symbols(std::string_view word, std::vector<std::int32_t>* symbols) const {
  bool unknown = false;
  while (!word.empty()) {
    std::size_t bytes = options_.byte_level ? 1 : utf8_char(word).bytes;
    std::int32_t id = -1;
    if (const AddedToken* frozen = frozen_.empty() ? nullptr : frozen_.at(word)) {
      bytes = frozen->text.size();
      id = frozen->id;
    } else {
      id = options_.byte_level ? bytes_[static_cast<unsigned char>(word[0])]
                               : symbols_.find(word.substr(0, bytes));
    }
    if (id >= 0) {
      symbols->push_back(id);
      unknown = false;
    } else {
      append_unknown(word.substr(0, bytes), &unknown, symbols);
    }
    word.remove_prefix(bytes);
  }
}

void BpeModel::encode(std::string_view word, std::vector<TokenId>* ids) const {
  if (words_.has_value()) {
    if (const std::int32_t id = words_->find(word); id >= 0) {
      ids->push_back(id);
      return;
    }
  }
  const std::size_t begin = ids->size();
  append_symbols(word, ids);
  const std::size_t count = merge_symbols(*merges_, std::span(*ids).subspan(begin));
  ids->resize(begin + count);
  const bool final = std::all_of(ids->begin() + static_cast<std::ptrdiff_t>(begin), ids->end(),
                                 [&](std::int32_t symbol) { return is_final(symbol); });
  if (!final) finish_symbols(begin, ids);
}

// Returns 0 as the bound if not every byte has a token: a stretch of any length may then be left
// out or be one unknown token.
std::size_t BpeModel::fewest_tokens(std::size_t bytes) const {
  const bool all =
      std::all_of(bytes_.begin(), bytes_.end(), [](std::int32_t id) { return id >= 0; });
  return all ? bytes / longest_ : 0;
}

bool BpeModel::is_final(std::int32_t symbol) const {
  const auto index = static_cast<std::size_t>(symbol);
  return index < count_ && symbol != options_.unknown &&
         (index >= replacements_.size() || replacements_[index].empty());
}

void BpeModel::finish_symbols(std::size_t begin, std::vector<TokenId>* ids) const {
  const std::vector<std::int32_t> symbols(ids->begin() + static_cast<std::ptrdiff_t>(begin),
                                          ids->end());
  ids->resize(begin);
  bool unknown = false;
  const auto append = [&](std::int32_t symbol) {
    const auto index = static_cast<std::size_t>(symbol);
    if (index < count_) {
      const bool again = unknown && options_.fuse_unknown && symbol == options_.unknown;
      unknown = symbol == options_.unknown;
      if (!again) ids->push_back(symbol);
    } else if (!options_.byte_level) {
      append_unknown(parts_[index - count_], &unknown, ids);
    } else {
      std::string bytes;
      append_byte_level(parts_[index - count_], &bytes);
      for (const char byte : bytes) {
        const std::int32_t id = bytes_[static_cast<unsigned char>(byte)];
        if (id >= 0) ids->push_back(id);
      }
    }
  };
  for (const std::int32_t symbol : symbols) {
    const auto index = static_cast<std::size_t>(symbol);
    if (index < replacements_.size() && !replacements_[index].empty()) {
      for (const TokenId id : replacements_[index]) append(id);
    } else {
      append(symbol);
    }
  }
}

}  // namespace troupe::model
