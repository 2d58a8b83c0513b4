#include <memory>
#include <utility>

#include <utf8proc.h>

#include <troupe/model/text/unicode_tables.h>
#include <troupe/model/tokenizer/normalizer.h>

namespace troupe::model {
namespace {

// Rules that make a text grow beyond this are hostile.
constexpr std::size_t kGrowthMax = 64;
constexpr std::size_t kGrowthFree = 1 << 20;

bool is_mark_of_any_kind(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME &&
         !in_ranges(unicode::kCombiningOfLate, c);
}

std::string clean(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_character(text, [&](char32_t c, std::string_view bytes) {
    if (c == 0 || c == 0xfffd || is_control(c)) return;
    if (is_white_space(c)) {
      out += ' ';
    } else {
      out += bytes;
    }
  });
  return out;
}

std::string with_ideographs_apart(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_character(text, [&](char32_t c, std::string_view bytes) {
    if (is_ideograph(c)) {
      ((out += ' ') += bytes) += ' ';
    } else {
      out += bytes;
    }
  });
  return out;
}

Status replace_spans(const std::vector<TextSpan>& spans, std::string_view to, std::string* text) {
  if (spans.empty()) return Status::ok();
  if (to.size() > kGrowthMax &&
      spans.size() * to.size() > kGrowthFree + kGrowthMax * text->size()) {
    return Status(Code::kResourceExhausted, "a normalizer makes a text of " +
                                                std::to_string(text->size()) + " bytes more than " +
                                                std::to_string(kGrowthMax) + " times as long");
  }
  std::string out;
  out.reserve(text->size() + spans.size() * to.size());
  std::size_t at = 0;
  for (const TextSpan& span : spans) {
    out.append(*text, at, span.begin - at).append(to);
    at = span.end;
  }
  out.append(*text, at);
  *text = std::move(out);
  return Status::ok();
}

// Removes white space at the ends, and makes runs of it one space.
std::string with_single_spaces(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out += c;
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace

Normalizer form_normalizer(NormalForm form) {
  return [form](std::string* text) {
    *text = normalize(*text, form);
    return Status::ok();
  };
}

Normalizer lower_case_normalizer() {
  return [](std::string* text) {
    *text = lower_case(*text);
    return Status::ok();
  };
}

Normalizer strip_accents_normalizer() {
  return [](std::string* text) {
    std::string out;
    for_each_character(*text, [&](char32_t c, std::string_view bytes) {
      if (!is_mark_of_any_kind(c)) out += bytes;
    });
    *text = std::move(out);
    return Status::ok();
  };
}

Normalizer strip_normalizer(bool left, bool right) {
  return [left, right](std::string* text) {
    std::size_t begin = std::string::npos, end = 0, at = 0;
    for_each_character(*text, [&](char32_t c, std::string_view bytes) {
      if (!is_white_space(c)) {
        if (begin == std::string::npos) begin = at;
        end = at + bytes.size();
      }
      at += bytes.size();
    });
    if (begin == std::string::npos) begin = end = right || left ? 0 : text->size();
    const std::size_t first = left ? begin : 0;
    const std::size_t last = right ? end : text->size();
    *text = begin == end && (left || right) ? std::string() : text->substr(first, last - first);
    return Status::ok();
  };
}

Normalizer prepend_normalizer(std::string prefix) {
  return [prefix = std::move(prefix)](std::string* text) {
    if (!text->empty()) text->insert(0, prefix);
    return Status::ok();
  };
}

Normalizer replace_normalizer(std::string from, std::string to) {
  return [from = std::move(from), to = std::move(to)](std::string* text) {
    std::vector<TextSpan> spans;
    for (std::size_t at = text->find(from); at != std::string::npos && !from.empty();
         at = text->find(from, at + from.size())) {
      spans.push_back({at, at + from.size()});
    }
    return replace_spans(spans, to, text);
  };
}

Normalizer replace_normalizer(Regex from, std::string to) {
  return [from = std::make_shared<const Regex>(std::move(from)),
          to = std::move(to)](std::string* text) {
    std::vector<TextSpan> spans;
    TROUPE_RETURN_IF_ERROR(from->find_all(*text, &spans));
    return replace_spans(spans, to, text);
  };
}

Normalizer bert_normalizer(BertNormalization options) {
  return [options](std::string* text) {
    if (options.clean_text) *text = clean(*text);
    if (options.split_ideographs) *text = with_ideographs_apart(*text);
    if (options.strip_accents) *text = without_marks(normalize(*text, NormalForm::kNfd));
    if (options.lower_case) *text = lower_case(*text);
    return Status::ok();
  };
}

Normalizer charsmap_normalizer(Charsmap map) {
  return [map = std::make_shared<const Charsmap>(std::move(map))](std::string* text) {
    *text = map->by_graphemes(*text);
    return Status::ok();
  };
}

Normalizer charsmap_normalizer(Charsmap map, AddedTokens kept) {
  return [map = std::make_shared<const Charsmap>(std::move(map)),
          kept = std::make_shared<const AddedTokens>(std::move(kept))](std::string* text) {
    *text = map->by_longest(*text, *kept);
    return Status::ok();
  };
}

Normalizer sentence_normalizer(bool remove_extra_spaces, bool add_prefix) {
  return [=](std::string* text) {
    if (remove_extra_spaces) *text = with_single_spaces(*text);
    if (text->empty()) return Status::ok();
    std::string out;
    out.reserve(text->size() + text->size() / 2);
    if (add_prefix) out += kSpaceMark;
    for (const char c : *text) {
      if (c == ' ') {
        out += kSpaceMark;
      } else {
        out += c;
      }
    }
    *text = std::move(out);
    return Status::ok();
  };
}

Status normalize_text(const std::vector<Normalizer>& normalizers, std::string* text) {
  for (const Normalizer& normalizer : normalizers) TROUPE_RETURN_IF_ERROR(normalizer(text));
  return Status::ok();
}

}  // namespace troupe::model
