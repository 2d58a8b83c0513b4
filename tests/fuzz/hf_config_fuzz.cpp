// Feeds any bytes as a Hugging Face config.json to every family's reader, and reads the
// configuration from the header that it makes.
#include <cstdint>

#include <troupe/model/families/family.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/files/gguf_reader.h>
#include <troupe/model/files/gguf_writer.h>
#include <troupe/model/source/hf_quantization.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace troupe::model;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = HfConfig::parse(text, "config.json");
  if (!config) return 0;
  for (const bool knows_mxfp4 : {false, true}) (void)read_quantization(*config, knows_mxfp4);
  for (const Family& family : families()) {
    GgufMetadata metadata;
    metadata["general.architecture"] = std::string(family.name);
    if (!family.hf.metadata(*config, &metadata)) continue;
    std::vector<TensorInfo> tensors{
        {"token_embd.weight", troupe::quant::Type::kF32, {8, 8}, 0, 256}};
    const std::string header = write_gguf_header(metadata, &tensors);
    const auto parsed = parse_gguf_header(std::as_bytes(std::span(header.data(), header.size())),
                                          header.size() + 256, "fuzz");
    if (!parsed) __builtin_trap();  // a header that we write must be readable
    (void)config_from_gguf(*parsed);
  }
  return 0;
}
