// Feeds any bytes as a model file: its header, its configuration and its tokenizer. If they
// describe a small model, it is loaded and takes a step.
#include <cstdint>
#include <cstdlib>

#include <troupe/model/families/read_config.h>
#include <troupe/model/files/gguf_reader.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/transformer/stage.h>

namespace {

using namespace troupe;
using namespace troupe::model;

class BytesSource final : public TensorSource {
 public:
  BytesSource(std::span<const std::byte> file, const GgufHeader& header)
      : file_(file), header_(header) {}
  const GgufHeader& header() const override { return header_; }
  Result<std::span<const std::byte>> bytes(std::string_view tensor) const override {
    const TensorInfo* info = header_.tensor(tensor);
    if (info == nullptr) return Status(Code::kNotFound, "no tensor");
    if (info->offset > file_.size() || info->bytes > file_.size() - info->offset) std::abort();
    return file_.subspan(info->offset, info->bytes);
  }
  std::string where(std::string_view) const override { return "fuzz.gguf"; }
  void drop(std::string_view) const override {}

 private:
  std::span<const std::byte> file_;
  const GgufHeader& header_;
};

// Loads the model and takes a step. All tensors lie in the file, so its size bounds what is loaded.
void run(const TensorSource& source, const ModelConfig& config) {
  if (config.layers > 2 || config.context_max > 4096) return;
  static const std::unique_ptr<Device> device = std::move(*Device::create({1, false, {}}));
  const auto stage = Stage::load(source, config, {0, config.layers}, *device, {});
  if (!stage) return;
  const auto sequence = (*stage)->new_sequence();
  const Segment segment{sequence.get(), 0, 2, LogitRows::kLast};
  const TokenId ids[] = {0, static_cast<TokenId>(config.vocabulary - 1)};
  StepOutput output;
  (void)(*stage)->forward({{&segment, 1}, ids, {}}, &output);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto header = parse_gguf_header(bytes, size, "fuzz.gguf");
  if (!header) return 0;
  const auto config = config_from_gguf(*header);
  if (const auto tokenizer = open_tokenizer(*header, config ? config->vocabulary : 0)) {
    (void)(*tokenizer)->encode("Hello, world 12 \xc3\xa9", {});
  }
  if (config) run(BytesSource(bytes, *header), *config);
  return 0;
}
