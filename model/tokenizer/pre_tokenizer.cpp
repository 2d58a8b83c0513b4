#include <algorithm>
#include <memory>
#include <utility>

#include <troupe/model/text/unicode.h>
#include <troupe/model/tokenizer/pre_tokenizer.h>
#include <troupe/model/tokenizer/vocabulary.h>

namespace troupe::model {
namespace {

constexpr std::string_view kByteLevelWords =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// A piece of a word and whether it is a delimiter.
struct Part {
  TextSpan span;
  bool matched = false;
};

// Returns all parts of `word`: the delimiters and what lies between them.
std::vector<Part> parts_of(std::string_view word, const std::vector<TextSpan>& matches,
                           bool inverted) {
  std::vector<Part> parts;
  std::size_t at = 0;
  for (const TextSpan& match : matches) {
    if (match.begin > at) parts.push_back({{at, match.begin}, inverted});
    parts.push_back({match, !inverted});
    at = match.end;
  }
  if (at < word.size()) parts.push_back({{at, word.size()}, inverted});
  return parts;
}

// Joins parts as the behavior asks. The caller removes parts that still have `matched` set.
std::vector<Part> joined(std::vector<Part> parts, SplitBehavior behavior) {
  if (behavior == SplitBehavior::kRemoved) return parts;
  const bool backward = behavior == SplitBehavior::kMergedWithNext;
  if (backward) std::reverse(parts.begin(), parts.end());
  std::vector<Part> out;
  bool previous = false;
  for (const Part& part : parts) {
    bool join = false;
    if (behavior == SplitBehavior::kContiguous) {
      join = !out.empty() && part.matched == previous;
    } else if (behavior != SplitBehavior::kIsolated) {
      join = !out.empty() && part.matched && !previous;
    }
    previous = part.matched;
    if (!join) {
      out.push_back({part.span, false});
    } else if (backward) {
      out.back().span.begin = part.span.begin;
    } else {
      out.back().span.end = part.span.end;
    }
  }
  if (backward) std::reverse(out.begin(), out.end());
  return out;
}

using Find = std::function<Status(std::string_view, std::vector<TextSpan>*)>;

Cut cut_at(Find find, SplitBehavior behavior, bool inverted) {
  return [find = std::move(find), behavior, inverted](WordList* words) {
    std::vector<std::string_view> out;
    out.reserve(words->words.size());
    std::vector<TextSpan> matches;
    for (const std::string_view word : words->words) {
      matches.clear();
      TROUPE_RETURN_IF_ERROR(find(word, &matches));
      if (behavior == SplitBehavior::kIsolated) {  // the usual case needs no list of parts
        std::size_t at = 0;
        for (const TextSpan& match : matches) {
          if (match.begin > at) out.push_back(word.substr(at, match.begin - at));
          out.push_back(word.substr(match.begin, match.end - match.begin));
          at = match.end;
        }
        if (at < word.size()) out.push_back(word.substr(at));
        continue;
      }
      for (const Part& part : joined(parts_of(word, matches, inverted), behavior)) {
        if (part.matched) continue;
        out.push_back(word.substr(part.span.begin, part.span.end - part.span.begin));
      }
    }
    words->words = std::move(out);
    return Status::ok();
  };
}

// Cuts at each character for which `is` returns true.
Cut cut_at_characters(bool (*is)(char32_t), SplitBehavior behavior) {
  return cut_at(
      [is](std::string_view word, std::vector<TextSpan>* matches) {
        std::size_t at = 0;
        for_each_character(word, [&](char32_t c, std::string_view bytes) {
          if (is(c)) matches->push_back({at, at + bytes.size()});
          at += bytes.size();
        });
        return Status::ok();
      },
      behavior, false);
}

Regex own_regex(std::string_view pattern) {
  Result<Regex> regex = Regex::compile(pattern, /*foreign=*/false);
  TROUPE_CHECK(regex.is_ok(), regex.message());
  return std::move(*regex);
}

}  // namespace

Cut split_cut(Regex regex, SplitBehavior behavior, bool inverted) {
  return cut_at([regex = std::make_shared<const Regex>(std::move(regex))](
                    std::string_view word,
                    std::vector<TextSpan>* matches) { return regex->find_all(word, matches); },
                behavior, inverted);
}

Cut literal_cut(std::string text, SplitBehavior behavior, bool inverted) {
  return cut_at(
      [text = std::move(text)](std::string_view word, std::vector<TextSpan>* matches) {
        for (std::size_t at = word.find(text); at != std::string_view::npos && !text.empty();
             at = word.find(text, at + text.size())) {
          matches->push_back({at, at + text.size()});
        }
        return Status::ok();
      },
      behavior, inverted);
}

Cut digits_cut(bool individual) {
  return split_cut(own_regex(R"(\p{N})"),
                   individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous, false);
}

Cut white_space_cut() {
  // Rust's \w has two characters that Oniguruma's lacks, and lacks six that Oniguruma's has.
  return split_cut(own_regex(R"((?:(?![\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}])[\w\x{200c}\x{200d}])+)"
                             R"(|(?:[^\w\s\x{200c}\x{200d}]|[\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}])+)"),
                   SplitBehavior::kRemoved, true);
}

Cut white_space_only_cut() { return cut_at_characters(is_white_space, SplitBehavior::kRemoved); }

Cut punctuation_cut(SplitBehavior behavior) {
  return cut_at_characters(is_bert_punctuation, behavior);
}

Cut bert_cut() {
  return [spaces = white_space_only_cut(),
          signs = punctuation_cut(SplitBehavior::kIsolated)](WordList* words) {
    TROUPE_RETURN_IF_ERROR(spaces(words));
    return signs(words);
  };
}

Cut metaspace_cut(std::string replacement, PrependScheme scheme, bool split) {
  const Cut at_marks = literal_cut(replacement, SplitBehavior::kMergedWithNext, false);
  return [=](WordList* words) {
    for (std::size_t i = 0; i < words->words.size(); ++i) {
      const std::string_view word = words->words[i];
      std::string marked;
      for (const char c : word) {
        if (c == ' ') {
          marked += replacement;
        } else {
          marked += c;
        }
      }
      const bool prepend = scheme == PrependScheme::kAlways ||
                           (scheme == PrependScheme::kFirst && i == 0 && words->at_start);
      if (prepend && !marked.starts_with(replacement)) marked.insert(0, replacement);
      words->words[i] = words->made.emplace_back(std::move(marked));
    }
    return split ? at_marks(words) : Status::ok();
  };
}

Cut byte_level_cut(bool add_prefix_space, bool use_regex) {
  Cut at_words;
  if (use_regex) at_words = split_cut(own_regex(kByteLevelWords), SplitBehavior::kIsolated, false);
  return [=](WordList* words) {
    for (std::string_view& word : words->words) {
      if (!add_prefix_space || word.starts_with(' ')) continue;
      word = words->made.emplace_back(" " + std::string(word));
    }
    return use_regex ? at_words(words) : Status::ok();
  };
}

Cut byte_alphabet_cut(Cut inner) {
  return [inner = std::move(inner)](WordList* words) {
    WordList written;
    for (const std::string_view word : words->words) {
      std::string& text = written.made.emplace_back();
      for (const char byte : word) text += byte_level_character(static_cast<unsigned char>(byte));
      written.words.push_back(text);
    }
    TROUPE_RETURN_IF_ERROR(inner(&written));
    words->words.clear();
    for (const std::string_view piece : written.words) {
      std::string& bytes = words->made.emplace_back();
      append_byte_level(piece, &bytes);
      words->words.push_back(bytes);
    }
    return Status::ok();
  };
}

Status cut_words(const std::vector<Cut>& cuts, WordList* words) {
  for (const Cut& cut : cuts) TROUPE_RETURN_IF_ERROR(cut(words));
  return Status::ok();
}

}  // namespace troupe::model
