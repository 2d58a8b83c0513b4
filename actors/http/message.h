#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// HTTP requests and responses as plain values. Pure.

namespace troupe::http {

struct Header {
  std::string name;  // as it was sent
  std::string value;
};

struct Request {
  std::string method;  // "GET"
  std::string target;  // as it was sent: path and query
  std::string path;    // percent-decoded, without the query
  std::string query;   // after "?", as it was sent
  int version = 11;    // 10 or 11
  bool keep_alive = true;
  bool expects_continue = false;
  std::vector<Header> headers;
  std::string body;

  // Returns the value of the first field of this name, whatever its case; "" if there is none.
  std::string_view header(std::string_view name) const;
  std::size_t count(std::string_view name) const;
  // Returns the value of `name` in the query, percent-decoded; "" if there is none.
  std::string parameter(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<Header> headers;
};

// Returns the words for a status: "Not Found" for 404.
std::string_view reason_phrase(int status);
// True if two field names or host names are equal in ASCII, ignoring case.
bool same_name(std::string_view a, std::string_view b);
// Decodes percent-encoding; returns false if a "%" is not followed by two hexadecimal digits.
bool percent_decode(std::string_view text, std::string* out);

}  // namespace troupe::http
