#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include <troupe/model/store/model_id.h>
#include <troupe/runtime/sha256.h>
#include <troupe/runtime/text/hex.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

constexpr std::string_view kModelIdDomain = "troupe-model-1";

void add_text(Sha256& hash, std::string_view text) {
  hash.update(std::as_bytes(std::span(text.data(), text.size())));
}

void add_number(Sha256& hash, std::uint64_t number) {
  std::array<std::byte, 8> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(number >> (8 * i));
  }
  hash.update(bytes);
}

Status add_hash(Sha256& hash, const std::string& hex) {
  if (!is_sha256_hex(hex)) {
    return Status(Code::kBadData,
                  "a hash in the model's manifest is " + in_quotes(hex) + ", not 64 hex digits");
  }
  std::array<std::byte, 32> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(hex_value(hex[2 * i]) * 16 + hex_value(hex[2 * i + 1]));
  }
  hash.update(bytes);
  return Status::ok();
}

}  // namespace

Result<std::string> model_id(const Manifest& manifest) {
  Sha256 hash;
  add_text(hash, kModelIdDomain);
  add_number(hash, manifest.header.bytes);
  TROUPE_RETURN_IF_ERROR(add_hash(hash, manifest.header.sha256));
  add_number(hash, manifest.tensors.size());
  std::uint64_t last = 0;
  for (const Manifest::Tensor& tensor : manifest.tensors) {
    if (tensor.offset < last) {
      return Status(
          Code::kBadData,
          "the tensor " + in_quotes(tensor.name) +
              " comes in the model's manifest after a tensor that follows it in the file");
    }
    last = tensor.offset;
    add_number(hash, tensor.name.size());
    add_text(hash, tensor.name);
    add_number(hash, tensor.offset);
    add_number(hash, tensor.blob.bytes);
    TROUPE_RETURN_IF_ERROR(add_hash(hash, tensor.blob.sha256));
  }
  return hash.hex();
}

Status prove(Manifest* manifest) {
  TROUPE_ASSIGN_OR_RETURN(const std::string id, model_id(*manifest));
  if (id != manifest->model) {
    return Status(Code::kBadData,
                  "the parts that were listed for the model model:" +
                      manifest->model.substr(0, 64) + " are those of model:" + id +
                      ": one of the two was tampered with, or comes from another release");
  }
  std::uint64_t end = manifest->header.bytes;
  for (const Manifest::Tensor& tensor : manifest->tensors) {
    if (tensor.blob.bytes > UINT64_MAX - tensor.offset) {
      return Status(Code::kBadData,
                    "the tensor " + in_quotes(tensor.name) + " lies beyond the end of every file");
    }
    end = std::max(end, tensor.offset + tensor.blob.bytes);
  }
  manifest->file_bytes = end;
  return Status::ok();
}

}  // namespace troupe::model
