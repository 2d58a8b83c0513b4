#include <algorithm>
#include <utility>
#include <vector>

#include <troupe/model/jinja/order.h>
#include <troupe/model/jinja/pretty.h>
#include <troupe/model/jinja/print.h>
#include <troupe/model/jinja/text.h>

namespace troupe::model::jinja {
namespace {

constexpr std::int64_t kWidth = 80;

// Returns the entries by their keys. Keys that have no order are ordered by their types' names.
std::vector<const Dict::value_type*> ordered(const Dict& dict) {
  std::vector<const Dict::value_type*> entries;
  for (const auto& entry : dict) entries.push_back(&entry);
  std::stable_sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
    const Result<bool> before = less(0, a->first, b->first);
    return before.is_ok() ? *before : type_name(a->first) < type_name(b->first);
  });
  return entries;
}

// Returns the value with the keys of all its dicts in order.
Value with_ordered_keys(const Value& value) {
  if (const Dict* dict = value.dict()) {
    Dict out;
    for (const auto* entry : ordered(*dict)) {
      out.emplace_back(entry->first, with_ordered_keys(entry->second));
    }
    return Value(std::move(out));
  }
  if (!value.is_indexed()) return value;
  List out;
  for (const Value& item : *value.list()) out.push_back(with_ordered_keys(item));
  return Value(std::move(out), value.sequence());
}

class Pretty {
 public:
  explicit Pretty(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  // `indent` columns are taken on the left, `allowance` columns are needed on the right.
  Status write(const Value& value, std::int64_t indent, std::int64_t allowance) {
    if (out_.size() > bytes_max_) {
      return Status(Code::kResourceExhausted, "a value is too large to be printed");
    }
    TROUPE_ASSIGN_OR_RETURN(const std::string text, to_repr(value, bytes_max_));
    if (width_of(text) <= kWidth - indent - allowance) {
      out_ += text;
      return Status::ok();
    }
    if (value.dict() != nullptr && !value.dict()->empty()) {
      return write_dict(*value.dict(), indent, allowance);
    }
    if (value.is_indexed()) return write_list(value, indent, allowance);
    if (value.string() != nullptr && !value.string()->empty() && !value.is_markup()) {
      return write_string(*value.string(), indent, allowance);
    }
    out_ += text;
    return Status::ok();
  }

  std::string take() { return std::move(out_); }

 private:
  static std::int64_t width_of(const std::string& text) {
    return character_index(text, std::string::npos);
  }
  void new_line(std::int64_t indent) {
    out_ += ",\n" + std::string(static_cast<std::size_t>(indent), ' ');
  }

  Status write_dict(const Dict& dict, std::int64_t indent, std::int64_t allowance) {
    out_ += '{';
    for (std::size_t i = 0; i < dict.size(); ++i) {
      const bool last = i + 1 == dict.size();
      TROUPE_ASSIGN_OR_RETURN(const std::string key, to_repr(dict[i].first, bytes_max_));
      (out_ += key) += ": ";
      ++level_;
      TROUPE_RETURN_IF_ERROR(
          write(dict[i].second, indent + 1 + width_of(key) + 2, last ? allowance + 1 : 1));
      --level_;
      if (!last) new_line(indent + 1);
    }
    out_ += '}';
    return Status::ok();
  }

  Status write_list(const Value& value, std::int64_t indent, std::int64_t allowance) {
    const List& list = *value.list();
    const bool tuple = value.is_tuple();
    const std::string end = tuple ? (list.size() == 1 ? ",)" : ")") : "]";
    out_ += tuple ? '(' : '[';
    for (std::size_t i = 0; i < list.size(); ++i) {
      const bool last = i + 1 == list.size();
      ++level_;
      TROUPE_RETURN_IF_ERROR(
          write(list[i], indent + 1, last ? allowance + static_cast<std::int64_t>(end.size()) : 1));
      --level_;
      if (!last) new_line(indent + 1);
    }
    out_ += end;
    return Status::ok();
  }

  // Adds the parts of one line of a string: the whole of it if it fits, else words of it.
  Status split_line(const std::string& line, bool last_line, std::int64_t indent,
                    std::int64_t allowance, std::vector<std::string>* parts) const {
    const std::int64_t most = kWidth - indent - (last_line ? allowance : 0);
    TROUPE_ASSIGN_OR_RETURN(std::string text, to_repr(Value(line), bytes_max_));
    if (width_of(text) <= most) {
      parts->push_back(std::move(text));
      return Status::ok();
    }
    std::vector<std::string> words;  // each with the white space after it
    bool space = false;
    for (const std::string_view character : characters(line)) {
      const bool is_space = is_white_space(character);
      if (words.empty() || (space && !is_space)) words.emplace_back();
      words.back() += character;
      space = is_space;
    }
    std::string current;
    for (std::size_t i = 0; i < words.size(); ++i) {
      const std::string candidate = current + words[i];
      const std::int64_t room =
          last_line && i + 1 == words.size() ? kWidth - indent - allowance : kWidth - indent;
      TROUPE_ASSIGN_OR_RETURN(text, to_repr(Value(candidate), bytes_max_));
      if (width_of(text) > room) {
        if (!current.empty()) {
          TROUPE_ASSIGN_OR_RETURN(text, to_repr(Value(current), bytes_max_));
          parts->push_back(std::move(text));
        }
        current = words[i];
      } else {
        current = candidate;
      }
    }
    if (current.empty()) return Status::ok();
    TROUPE_ASSIGN_OR_RETURN(text, to_repr(Value(current), bytes_max_));
    parts->push_back(std::move(text));
    return Status::ok();
  }

  Status write_string(const std::string& text, std::int64_t indent, std::int64_t allowance) {
    const bool outer = level_ == 0;
    if (outer) {
      ++indent;
      ++allowance;
    }
    std::vector<std::string> parts;
    const List lines = split_lines(text, /*keep_ends=*/true);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      TROUPE_RETURN_IF_ERROR(
          split_line(*lines[i].string(), i + 1 == lines.size(), indent, allowance, &parts));
    }
    if (parts.size() == 1) {
      out_ += parts[0];
      return Status::ok();
    }
    if (outer) out_ += '(';
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (i > 0) out_ += "\n" + std::string(static_cast<std::size_t>(indent), ' ');
      out_ += parts[i];
    }
    if (outer) out_ += ')';
    return Status::ok();
  }

  std::size_t bytes_max_;
  int level_ = 0;
  std::string out_;
};

}  // namespace

Result<std::string> to_pretty(const Value& value, std::size_t bytes_max) {
  Pretty pretty(bytes_max);
  TROUPE_RETURN_IF_ERROR(pretty.write(with_ordered_keys(value), 0, 0));
  return pretty.take();
}

}  // namespace troupe::model::jinja
