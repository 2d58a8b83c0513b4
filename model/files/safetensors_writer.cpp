#include <nlohmann/json.hpp>

#include <troupe/model/files/new_file.h>
#include <troupe/model/files/safetensors_writer.h>
#include <troupe/runtime/quant/encode.h>

namespace troupe::model {
namespace {

std::uint64_t count_of(const TensorToWrite& tensor) {
  std::uint64_t count = 1;
  for (const std::uint64_t size : tensor.shape) count *= size;
  return count;
}

std::string header_of(std::span<const TensorToWrite> tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  std::uint64_t at = 0;
  for (const TensorToWrite& tensor : tensors) {
    const std::uint64_t bytes = count_of(tensor) * quant::find(tensor.type)->block_bytes;
    header[tensor.name] = {{"dtype", quant::find(tensor.type)->name},
                           {"shape", tensor.shape},
                           {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  header["__metadata__"] = {{"format", "pt"}};  // transformers asks for it
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t bytes = text.size();
  return std::string(reinterpret_cast<const char*>(&bytes), sizeof bytes) + text;
}

}  // namespace

Result<std::string> write_safetensors(const std::filesystem::path& path,
                                      std::span<const TensorToWrite> tensors,
                                      const TensorValues& values) {
  NewFile file(path, "safetensors");
  TROUPE_RETURN_IF_ERROR(file.open());
  const std::string header = header_of(tensors);
  TROUPE_RETURN_IF_ERROR(file.write(std::as_bytes(std::span(header))));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    TROUPE_ASSIGN_OR_RETURN(const std::vector<float> floats, values(i));
    TROUPE_CHECK(floats.size() == count_of(tensors[i]), tensors[i].name);
    if (tensors[i].type == quant::Type::kF32) {
      TROUPE_RETURN_IF_ERROR(file.write(std::as_bytes(std::span(floats))));
      continue;
    }
    std::vector<std::byte> bytes(floats.size() * quant::find(tensors[i].type)->block_bytes);
    if (!quant::encode(tensors[i].type, floats.data(), floats.size(), bytes.data()))
      return Status(Code::kInvalidArgument, "the tensor " + tensors[i].name + " has a value that " +
                                                std::string(quant::find(tensors[i].type)->name) +
                                                " cannot hold; take --type F32");
    TROUPE_RETURN_IF_ERROR(file.write(bytes));
  }
  TROUPE_RETURN_IF_ERROR(file.finish());
  return file.hash();
}

}  // namespace troupe::model
