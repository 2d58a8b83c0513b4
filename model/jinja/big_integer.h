#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Whole numbers beyond 64 bits, as Python has them. Their size is bounded (kWordsMax), so that no
// template computes for ever. Plain values; pure.

namespace troupe::model::jinja {

class BigInteger {
 public:
  static constexpr std::size_t kWordsMax = 512;  // 32 bits each

  BigInteger() = default;
  explicit BigInteger(std::int64_t value);
  // Reads digits with an optional sign.
  //   Errors: nullopt if the text is not such a number, or if the number has more than kWordsMax
  //   words.
  static std::optional<BigInteger> parse(std::string_view digits, int base = 10);
  // Returns the whole part of a finite number.
  static BigInteger from_double(double value);

  bool is_negative() const { return negative_; }
  bool is_zero() const { return words_.empty(); }
  bool is_odd() const { return !words_.empty() && (words_[0] & 1) != 0; }
  // Returns nullopt if it does not fit.
  std::optional<std::int64_t> to_int64() const;
  double to_double() const;  // rounded to nearest even; infinite beyond a double
  std::string to_string(unsigned base = 10) const;
  std::size_t words() const { return words_.size(); }

  BigInteger operator-() const;
  friend BigInteger operator+(const BigInteger& a, const BigInteger& b);
  friend BigInteger operator-(const BigInteger& a, const BigInteger& b) { return a + -b; }
  friend BigInteger operator*(const BigInteger& a, const BigInteger& b);
  // Returns quotient and remainder, rounded toward minus infinity. `b` must not be 0.
  static std::pair<BigInteger, BigInteger> divide(const BigInteger& a, const BigInteger& b);
  // Returns -1, 0 or 1.
  static int compare(const BigInteger& a, const BigInteger& b);

 private:
  void trim();
  std::uint32_t divide_small(std::uint32_t divisor);

  bool negative_ = false;
  std::vector<std::uint32_t> words_;  // the lowest first, without zeros at the end
};

}  // namespace troupe::model::jinja
