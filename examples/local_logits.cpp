// Prints the five likeliest tokens after a text, using only the rooms below the actors: it links
// troupe::model (or `pkg-config troupe-model`), and neither CAF nor ZeroMQ.
//   example_local_logits model.gguf "text"      also a Hugging Face folder with a tokenizer
#include <algorithm>
#include <cstdio>
#include <numeric>

#include <troupe/model/families/read_config.h>
#include <troupe/model/local/evaluate.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/tokenizer/tokenizer_gguf.h>
#include <troupe/model/transformer/stage.h>

namespace {

using namespace troupe;

Status print_likeliest(const char* path, const char* text) {
  TROUPE_ASSIGN_OR_RETURN(const auto source, model::open_model(path));
  TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(source->header()));
  TROUPE_ASSIGN_OR_RETURN(const auto tokenizer, model::tokenizer_from_gguf(source->header()));
  TROUPE_ASSIGN_OR_RETURN(const auto device, Device::create({}));  // every usable CPU
  TROUPE_ASSIGN_OR_RETURN(const auto stage,
                          model::Stage::load(*source, config, {0, config.layers}, *device, {}));
  TROUPE_ASSIGN_OR_RETURN(const auto ids, tokenizer->encode(text, {}));
  // A row of logits for every position; the last one is about the token that comes next.
  TROUPE_ASSIGN_OR_RETURN(const auto logits,
                          model::sequence_logits(*stage, ids, {}, model::kPromptChunk));
  const float* const last = logits.data() + logits.size() - config.vocabulary;
  std::vector<model::TokenId> order(config.vocabulary);
  std::iota(order.begin(), order.end(), 0);
  const auto top =
      order.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(5, order.size()));
  std::partial_sort(order.begin(), top, order.end(), [last](auto a, auto b) {
    return last[a] != last[b] ? last[a] > last[b] : a < b;
  });
  for (auto id = order.begin(); id != top; ++id) {
    TROUPE_ASSIGN_OR_RETURN(const std::string piece, tokenizer->piece(*id, /*with_special=*/true));
    std::printf("%6d  %9.4f  \"%s\"\n", *id, static_cast<double>(last[*id]), piece.c_str());
  }
  return Status::ok();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s MODEL TEXT\n", argv[0]);
    return 2;
  }
  const troupe::Status done = print_likeliest(argv[1], argv[2]);
  if (!done) std::fprintf(stderr, "%s\n", done.message().c_str());
  return done ? 0 : 1;
}
