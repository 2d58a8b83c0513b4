#pragma once

#include <cstring>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/model/files/safetensors.h>

namespace troupe::model::test {

// Returns the values of a recorded tensor, which has the type T in its file.
template <class T>
std::vector<T> read_tensor(const Safetensors& file, const std::string& name) {
  const SafetensorsTensor* tensor = file.find(name);
  REQUIRE(tensor != nullptr);
  std::vector<T> values(tensor->bytes / sizeof(T));
  std::memcpy(values.data(), file.bytes(*tensor).data(), tensor->bytes);
  return values;
}

}  // namespace troupe::model::test
