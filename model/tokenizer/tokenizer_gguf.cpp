#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include <troupe/model/files/header_keys.h>
#include <troupe/model/tokenizer/bpe_model.h>
#include <troupe/model/tokenizer/normalizer.h>
#include <troupe/model/tokenizer/pre_tokenizer_families.h>
#include <troupe/model/tokenizer/tokenizer_gguf.h>
#include <troupe/model/tokenizer/tokenizer_gguf_keys.h>
#include <troupe/model/tokenizer/tokenizer_gguf_sentences.h>
#include <troupe/model/tokenizer/tokenizer_json.h>
#include <troupe/model/tokenizer/tokenizer_parts.h>
#include <troupe/model/tokenizer/word_piece.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

// tokenizer.ggml.model = gpt2
Result<TokenizerParts> byte_level_parts(const GgufHeader& header) {
  TokenizerParts parts;
  std::string pre = "default";
  if (header.metadata.contains("tokenizer.ggml.pre")) {
    TROUPE_ASSIGN_OR_RETURN(pre, header.string("tokenizer.ggml.pre"));
  }
  if (pre == "default") {
    log(LogLevel::kWarning,
        header.what + ": the file does not say how its text is cut into words, and llama.cpp's " +
            "default is used; answers may be worse than with a newer file of the model");
  }
  TROUPE_ASSIGN_OR_RETURN(PreTokenizer family, find_pre_tokenizer(pre));
  parts.normalizers = std::move(family.normalizers);
  parts.cuts = std::move(family.cuts);
  TROUPE_ASSIGN_OR_RETURN(const GgufTokens tokens, load_token_texts(header));
  static const std::vector<std::string> kNoMerges;
  const std::vector<std::string>* lines = &kNoMerges;  // a vocabulary of single bytes has none
  if (!is_empty_token_array(header, "tokenizer.ggml.merges")) {
    TROUPE_ASSIGN_OR_RETURN(lines,
                            token_array<std::vector<std::string>>(header, "tokenizer.ggml.merges"));
  }
  parts.vocabulary.reserve(tokens.size());
  std::string piece;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string& text = (*tokens.texts)[i];
    piece.clear();
    if (tokens.types[i] == TokenType::kNormal) {
      append_byte_level(text, &piece);
    } else {
      piece = text;
    }
    parts.vocabulary.add(tokens.types[i], piece);
    const bool always = tokens.types[i] == TokenType::kUserDefined;
    if (always || is_markup(tokens.types[i])) {
      parts.added.add({text, static_cast<TokenId>(i), /*special=*/!always});
    }
  }
  std::vector<std::pair<std::string_view, std::string_view>> merges;
  merges.reserve(lines->size());
  for (std::size_t rank = 0; rank < lines->size(); ++rank) {
    const std::string_view merge = (*lines)[rank];
    const std::size_t space = merge.find(' ', 1);
    if (merge.size() < 3 || space == std::string_view::npos || space + 1 == merge.size()) {
      return bad_token_key("merge " + std::to_string(rank) + " of tokenizer.ggml.merges is " +
                           in_quotes(merge) + ", expected two parts with a space between them");
    }
    merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  BpeModel::Options options;
  options.byte_level = true;
  options.whole_words = family.whole_words;
  auto model = std::make_unique<BpeModel>(options, *tokens.texts);
  TROUPE_RETURN_IF_ERROR(
      model->load_merges(merges, /*parts_may_be_unknown=*/true, "tokenizer.ggml.merges"));
  parts.model = std::move(model);
  TROUPE_RETURN_IF_ERROR(load_special_tokens(header, family.adds_bos, /*add_eos=*/false, &parts));
  return parts;
}

// How a WordPiece vocabulary is written. Files write the start of a word with U+2581 in front and
// continuations as they are; a file that keeps BERT's own "##" before continuations is read as BERT
// reads it.
struct WordPieceMarks {
  bool at_start = true;  // the mark is before the start of a word, else before continuations
  std::string_view mark;
};

WordPieceMarks marks_of(const GgufTokens& tokens) {
  const auto any_begins = [&](std::string_view prefix) {
    return std::any_of(tokens.texts->begin(), tokens.texts->end(), [&](const std::string& text) {
      return text.starts_with(prefix) && text.size() > prefix.size();
    });
  };
  const bool at_start = any_begins(kSpaceMark) || !any_begins("##");
  return {at_start, at_start ? kSpaceMark : std::string_view("##")};
}

// The special tokens of WordPiece.
struct WordPieceIds {
  TokenId unknown = -1, cls = -1, sep = -1;
};

// Finds the special tokens by their texts, unless keys say otherwise.
Result<WordPieceIds> word_piece_ids(const GgufHeader& header, const GgufTokens& tokens) {
  WordPieceIds ids;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string_view text = (*tokens.texts)[i];
    const auto id = static_cast<TokenId>(i);
    if (text == "[UNK]") ids.unknown = id;
    if (text == "[CLS]") ids.cls = id;
    if (text == "[SEP]") ids.sep = id;
  }
  const std::size_t count = tokens.size();
  TROUPE_RETURN_IF_ERROR(
      load_token_id(header, "tokenizer.ggml.unknown_token_id", count, &ids.unknown));
  TROUPE_RETURN_IF_ERROR(load_token_id(header, "tokenizer.ggml.cls_token_id", count, &ids.cls));
  // The first key is misspelt in the files.
  for (const std::string_view key :
       {"tokenizer.ggml.seperator_token_id", "tokenizer.ggml.separator_token_id"}) {
    TROUPE_RETURN_IF_ERROR(load_token_id(header, key, count, &ids.sep));
  }
  return ids;
}

bool has_capital(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

// Reads the parts for tokenizer.ggml.model = bert. No key says whether the model lower-cases. It
// does if its vocabulary has no capital letter A to Z.
Result<TokenizerParts> word_piece_parts(const GgufHeader& header) {
  TokenizerParts parts;
  TROUPE_ASSIGN_OR_RETURN(const GgufTokens tokens, load_token_texts(header));
  const WordPieceMarks marks = marks_of(tokens);
  TROUPE_ASSIGN_OR_RETURN(const WordPieceIds ids, word_piece_ids(header, tokens));
  WordPieceModel::Options options;
  options.unknown = ids.unknown;
  auto model = std::make_unique<WordPieceModel>(options);
  bool capitals = false;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    std::string_view text = (*tokens.texts)[i];
    const auto id = static_cast<TokenId>(i);
    if (is_markup(tokens.types[i]) || id == ids.cls || id == ids.sep) {
      parts.added.add({std::string(text), id, /*special=*/true});
      parts.vocabulary.add(TokenType::kControl, " " + std::string(text));
      continue;
    }
    const bool marked = text.starts_with(marks.mark) && text.size() > marks.mark.size();
    if (marked) text.remove_prefix(marks.mark.size());
    const bool starts = marked == marks.at_start;
    if (starts) {
      model->add_start(text, id);
    } else {
      model->add_continuation(text, id);
    }
    parts.vocabulary.add(tokens.types[i], (starts ? " " : "") + std::string(text));
    // Rows without a token have names such as [PAD30522], which say nothing about texts.
    capitals |= tokens.types[i] != TokenType::kUnused && has_capital(text);
  }
  BertNormalization normalization;
  normalization.lower_case = normalization.strip_accents = !capitals;
  parts.normalizers = {bert_normalizer(normalization)};
  parts.cuts = {bert_cut()};
  parts.model = std::move(model);
  parts.drops_first_space = true;
  TROUPE_RETURN_IF_ERROR(load_special_tokens(header, /*add_bos=*/false, /*add_eos=*/false, &parts));
  parts.before.clear();
  parts.after.clear();
  if (ids.cls >= 0) parts.before = {ids.cls};
  if (ids.sep >= 0) parts.after = {ids.sep};
  return parts;
}

Result<TokenizerParts> parts_from(const GgufHeader& header) {
  if (header.metadata.contains(header_keys::kTokenizerJson)) {
    TROUPE_ASSIGN_OR_RETURN(const std::string text, header.string(header_keys::kTokenizerJson));
    const auto text_of = [&](std::string_view key) -> Result<std::string> {
      return header.metadata.contains(key) ? header.string(key) : Result<std::string>("");
    };
    TROUPE_ASSIGN_OR_RETURN(const std::string config, text_of(header_keys::kTokenizerConfigJson));
    TROUPE_ASSIGN_OR_RETURN(const std::string special, text_of(header_keys::kSpecialTokensMapJson));
    TROUPE_ASSIGN_OR_RETURN(const std::string added, text_of(header_keys::kAddedTokensJson));
    TROUPE_ASSIGN_OR_RETURN(const std::string model, text_of(header_keys::kConfigJson));
    TROUPE_ASSIGN_OR_RETURN(TokenizerParts parts,
                            json_parts({text, config, special, added, model}));
    for (const std::string_view key :
         {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
      TokenId end = -1;
      TROUPE_RETURN_IF_ERROR(load_token_id(header, key, parts.vocabulary.size(), &end));
      parts.ends.push_back(end);
    }
    const std::vector<TokenId> ends = end_token_ids(header, 0);
    parts.ends.insert(parts.ends.end(), ends.begin(), ends.end());
    return parts;
  }
  TROUPE_ASSIGN_OR_RETURN(const std::string kind, header.string("tokenizer.ggml.model"));
  using Load = Result<TokenizerParts> (*)(const GgufHeader&);
  Load load = nullptr;
  if (kind == "gpt2") load = byte_level_parts;
  if (kind == "llama") load = sentence_parts;
  if (kind == "t5") load = unigram_parts;
  if (kind == "bert") load = word_piece_parts;
  if (load == nullptr) {
    return Status(
        Code::kBadData,
        "tokenizer.ggml.model is " + in_quotes(kind) +
            ", which is not supported; 'gpt2' (byte-level BPE), 'llama' (SentencePiece's BPE), "
            "'t5' (SentencePiece's unigram model) and 'bert' (WordPiece) are: take a file of the "
            "model with one of them, or a newer version of Troupe");
  }
  return load(header);
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> tokenizer_from_gguf(const GgufHeader& header) {
  Result<TokenizerParts> parts = parts_from(header);
  if (!parts.is_ok()) return header.of_this(parts.status());
  return assemble(std::move(*parts));
}

std::vector<TokenId> end_token_ids(const GgufHeader& header, std::size_t vocabulary) {
  std::vector<TokenId> ids;
  const auto found = header.metadata.find(header_keys::kEndTokenIds);
  if (found == header.metadata.end()) return ids;
  if (const auto* values = std::get_if<std::vector<std::int64_t>>(&found->second))
    for (const std::int64_t id : *values) {
      // Some files write -1 for "no such token", and a token without a row is never generated.
      if (id < 0 || (vocabulary != 0 && static_cast<std::uint64_t>(id) >= vocabulary)) continue;
      if (id <= std::numeric_limits<TokenId>::max()) ids.push_back(static_cast<TokenId>(id));
    }
  return ids;
}

}  // namespace troupe::model
