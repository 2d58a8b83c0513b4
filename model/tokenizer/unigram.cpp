#include <algorithm>

#include <troupe/model/tokenizer/unigram.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {

void UnigramModel::add(std::string_view text, TokenId id, double score) {
  const auto index = static_cast<std::size_t>(id);
  if (index >= scores_.size()) scores_.resize(index + 1);
  scores_[index] = score;
  trie_.put(text, id);
  longest_ = std::max(longest_, text.size());
}

// Records a way to reach a place, if it is the best so far. Of several best cuts, the first one
// stays. In single precision, sums are compared and kept with SentencePiece's types: `sum` is f64
// for a token and rounded for an unknown character, and the sum that is kept is rounded.
void UnigramModel::reach(double sum, std::size_t begin, TokenId id, Step* step) const {
  if (step->id >= 0 && !(sum > step->sum)) return;
  *step = {begin, id, kept(sum)};
}

double UnigramModel::kept(double sum) const {
  return options_.single_precision ? static_cast<double>(static_cast<float>(sum)) : sum;
}

void UnigramModel::encode(std::string_view word, std::vector<TokenId>* ids) const {
  std::vector<Step> steps(word.size() + 1);  // steps[i]: the best cut up to byte i
  for (std::size_t at = 0; at < word.size();) {
    const std::string_view rest = word.substr(at);
    const std::size_t character = utf8_char(rest).bytes;
    const double before = steps[at].sum;
    bool is_token = false;
    trie_.for_each_prefix(rest, [&](std::size_t bytes, TokenId id) {
      reach(scores_[static_cast<std::size_t>(id)] + before, at, id, &steps[at + bytes]);
      is_token |= bytes == character;
    });
    if (!is_token) {
      reach(kept(options_.unknown_score + before), at, options_.unknown, &steps[at + character]);
    }
    at += character;
  }
  struct Piece {
    std::size_t begin, end;
    TokenId id;
  };
  std::vector<Piece> pieces;  // from the last to the first
  for (std::size_t end = word.size(); end > 0; end = steps[end].begin) {
    const Step& step = steps[end];
    const bool joins =
        !pieces.empty() && step.id == options_.unknown && pieces.back().id == options_.unknown;
    if (joins) {
      pieces.back().begin = step.begin;
    } else {
      pieces.push_back({step.begin, end, step.id});
    }
  }
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
    if (piece->id == options_.unknown) {
      append_unknown(word.substr(piece->begin, piece->end - piece->begin), ids);
    } else {
      ids->push_back(piece->id);
    }
  }
}

// Appends the tokens of a stretch of unknown characters. It may be a token as a whole, if the
// scores are odd.
void UnigramModel::append_unknown(std::string_view text, std::vector<TokenId>* ids) const {
  const TokenId known = options_.single_precision ? -1 : trie_.find(text);
  const bool by_bytes =
      known < 0 && options_.byte_fallback && std::all_of(text.begin(), text.end(), [&](char byte) {
        return bytes_[static_cast<unsigned char>(byte)] >= 0;
      });
  if (!by_bytes) {
    ids->push_back(known >= 0 ? known : options_.unknown);
    return;
  }
  for (const char byte : text) ids->push_back(bytes_[static_cast<unsigned char>(byte)]);
}

bool UnigramModel::has_all_bytes() const {
  return options_.byte_fallback &&
         std::all_of(bytes_.begin(), bytes_.end(), [](TokenId id) { return id >= 0; });
}

// Returns 0 as the bound if not every byte has a token: a stretch of any length may then be one
// unknown token.
std::size_t UnigramModel::fewest_tokens(std::size_t bytes) const {
  return has_all_bytes() ? bytes / longest_ : 0;
}

}  // namespace troupe::model
