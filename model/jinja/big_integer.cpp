#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include <troupe/model/jinja/big_integer.h>

namespace troupe::model::jinja {
namespace {

using Words = std::vector<std::uint32_t>;

int compare_words(const Words& a, const Words& b) {
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  for (std::size_t i = a.size(); i-- > 0;) {
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  }
  return 0;
}

Words add_words(const Words& a, const Words& b) {
  Words out;
  std::uint64_t carry = 0;
  for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    carry += std::uint64_t{i < a.size() ? a[i] : 0} + (i < b.size() ? b[i] : 0);
    out.push_back(static_cast<std::uint32_t>(carry));
    carry >>= 32;
  }
  if (carry != 0) out.push_back(static_cast<std::uint32_t>(carry));
  return out;
}

// `a` must not be below `b`.
Words subtract_words(const Words& a, const Words& b) {
  Words out;
  std::int64_t borrow = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::int64_t one = std::int64_t{a[i]} - (i < b.size() ? b[i] : 0) - borrow;
    borrow = one < 0 ? 1 : 0;
    if (one < 0) one += std::int64_t{1} << 32;
    out.push_back(static_cast<std::uint32_t>(one));
  }
  while (!out.empty() && out.back() == 0) out.pop_back();
  return out;
}

}  // namespace

BigInteger::BigInteger(std::int64_t value) : negative_(value < 0) {
  std::uint64_t magnitude =
      value < 0 ? ~static_cast<std::uint64_t>(value) + 1 : static_cast<std::uint64_t>(value);
  for (; magnitude != 0; magnitude >>= 32) words_.push_back(static_cast<std::uint32_t>(magnitude));
}

std::optional<BigInteger> BigInteger::parse(std::string_view digits, int base) {
  BigInteger out;
  if (digits.starts_with('-') || digits.starts_with('+')) {
    out.negative_ = digits[0] == '-';
    digits.remove_prefix(1);
  }
  if (digits.empty()) return std::nullopt;
  for (const char c : digits) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 10
                      : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                             : 99;
    if (digit >= base) return std::nullopt;
    std::uint64_t carry = static_cast<std::uint64_t>(digit);
    for (std::uint32_t& word : out.words_) {
      carry += std::uint64_t{word} * static_cast<std::uint64_t>(base);
      word = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) out.words_.push_back(static_cast<std::uint32_t>(carry));
    if (out.words_.size() > kWordsMax) return std::nullopt;
  }
  out.trim();
  return out;
}

BigInteger BigInteger::from_double(double value) {
  BigInteger out;
  int exponent = 0;
  const double fraction = std::frexp(std::fabs(std::trunc(value)), &exponent);
  auto bits = static_cast<std::uint64_t>(std::ldexp(fraction, 53));  // times 2^(exponent - 53)
  if (exponent < 53) {
    bits >>= std::min(53 - exponent, 63);
    exponent = 53;
  }
  const int shift = exponent - 53;
  out.words_.assign(static_cast<std::size_t>(shift / 32), 0);
  const int rest = shift % 32;
  out.words_.push_back(static_cast<std::uint32_t>(bits << rest));
  out.words_.push_back(static_cast<std::uint32_t>(bits << rest >> 32));
  out.words_.push_back(rest == 0 ? 0 : static_cast<std::uint32_t>(bits >> (64 - rest)));
  out.negative_ = value < 0;
  out.trim();
  return out;
}

void BigInteger::trim() {
  while (!words_.empty() && words_.back() == 0) words_.pop_back();
  if (words_.empty()) negative_ = false;
}

std::optional<std::int64_t> BigInteger::to_int64() const {
  if (words_.size() > 2) return std::nullopt;
  std::uint64_t magnitude = words_.empty() ? 0 : words_[0];
  if (words_.size() == 2) magnitude |= std::uint64_t{words_[1]} << 32;
  const std::uint64_t limit = std::uint64_t{1} << 63;
  if (magnitude > limit - (negative_ ? 0 : 1)) return std::nullopt;
  return static_cast<std::int64_t>(negative_ ? ~magnitude + 1 : magnitude);
}

double BigInteger::to_double() const {
  if (words_.empty()) return 0.0;
  // Take the highest 64 bits; lower ones only say whether there is a rest.
  std::uint64_t top = 0;
  int taken = 0;
  bool rest = false;
  std::size_t i = words_.size();
  while (i > 0 && taken < 2) {
    top = (top << 32) | words_[--i];
    ++taken;
  }
  int exponent = static_cast<int>(i) * 32;
  // The highest word is not 0, so that two words leave room for fewer than 32 bits of a third one.
  if (const int room = std::countl_zero(top); room > 0 && i > 0) {
    const std::uint32_t word = words_[--i];
    top = (top << room) | (word >> (32 - room));
    rest = (word & ((std::uint32_t{1} << (32 - room)) - 1)) != 0;
    exponent -= room;
  }
  for (; i > 0 && !rest; --i) rest = words_[i - 1] != 0;
  if (rest) top |= 1;  // below the rounding bit
  const double value = std::ldexp(static_cast<double>(top), exponent);
  return negative_ ? -value : value;
}

std::uint32_t BigInteger::divide_small(std::uint32_t divisor) {
  std::uint64_t rest = 0;
  for (std::size_t i = words_.size(); i-- > 0;) {
    rest = (rest << 32) | words_[i];
    words_[i] = static_cast<std::uint32_t>(rest / divisor);
    rest %= divisor;
  }
  trim();
  return static_cast<std::uint32_t>(rest);
}

std::string BigInteger::to_string(unsigned base) const {
  if (words_.empty()) return "0";
  std::string out;
  BigInteger left = *this;
  while (!left.words_.empty()) {
    left.negative_ = false;
    out += "0123456789abcdef"[left.divide_small(base)];
  }
  if (negative_) out += '-';
  std::reverse(out.begin(), out.end());
  return out;
}

BigInteger BigInteger::operator-() const {
  BigInteger out = *this;
  out.negative_ = !negative_ && !words_.empty();
  return out;
}

BigInteger operator+(const BigInteger& a, const BigInteger& b) {
  BigInteger out;
  if (a.negative_ == b.negative_) {
    out.words_ = add_words(a.words_, b.words_);
    out.negative_ = a.negative_;
  } else {
    const bool first = compare_words(a.words_, b.words_) >= 0;
    out.words_ = first ? subtract_words(a.words_, b.words_) : subtract_words(b.words_, a.words_);
    out.negative_ = first ? a.negative_ : b.negative_;
  }
  out.trim();
  return out;
}

BigInteger operator*(const BigInteger& a, const BigInteger& b) {
  BigInteger out;
  out.words_.assign(a.words_.size() + b.words_.size(), 0);
  for (std::size_t i = 0; i < a.words_.size(); ++i) {
    std::uint64_t carry = 0;
    for (std::size_t j = 0; j < b.words_.size(); ++j) {
      carry += std::uint64_t{a.words_[i]} * b.words_[j] + out.words_[i + j];
      out.words_[i + j] = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    out.words_[i + b.words_.size()] = static_cast<std::uint32_t>(carry);
  }
  out.negative_ = a.negative_ != b.negative_;
  out.trim();
  return out;
}

std::pair<BigInteger, BigInteger> BigInteger::divide(const BigInteger& a, const BigInteger& b) {
  BigInteger quotient, rest, divisor = b;
  divisor.negative_ = false;
  quotient.words_.assign(a.words_.size(), 0);
  for (std::size_t bit = a.words_.size() * 32; bit-- > 0;) {  // long division, a bit at a time
    rest = rest + rest;
    if ((a.words_[bit / 32] >> (bit % 32) & 1) != 0) rest = rest + BigInteger(1);
    if (compare_words(rest.words_, divisor.words_) < 0) continue;
    rest = rest - divisor;
    quotient.words_[bit / 32] |= std::uint32_t{1} << (bit % 32);
  }
  quotient.negative_ = a.negative_ != b.negative_;
  quotient.trim();
  rest.negative_ = a.negative_;
  rest.trim();
  if (!rest.is_zero() && rest.negative_ != b.negative_) {
    quotient = quotient - BigInteger(1);
    rest = rest + b;
  }
  return {std::move(quotient), std::move(rest)};
}

int BigInteger::compare(const BigInteger& a, const BigInteger& b) {
  if (a.negative_ != b.negative_) return a.negative_ ? -1 : 1;
  const int order = compare_words(a.words_, b.words_);
  return a.negative_ ? -order : order;
}

}  // namespace troupe::model::jinja
