#pragma once

#include <functional>

// The verbs of the command. A verb is a row of the list here and a file of verbs/ that defines
// add_VERB (the verbs about existing jobs share one). command_line.cpp gives every verb a
// subcommand; the verb adds its options and returns the function that runs once they are parsed.

namespace CLI {
class App;
}

namespace troupe::tools {

// Runs the verb; the value is the exit status (0, 1 for a failure, 2 for wrong usage).
using Action = std::function<int()>;

// The list of verbs in the order of the help text: the name, and what the verb does.
#define TROUPE_VERBS(ROW)                                                         \
  ROW(run, "Answer a prompt, or chat")                                            \
  ROW(serve, "Answer HTTP requests in OpenAI's form")                             \
  ROW(finetune, "Train a model on texts of your own")                             \
  ROW(train, "Train a new model from nothing")                                    \
  ROW(classify, "Label texts with a trained classifier")                          \
  ROW(embed, "Print the embeddings of texts")                                     \
  ROW(eval, "Measure how well a model does on data")                              \
  ROW(export, "Write a model as a folder or a GGUF file, with an adapter merged") \
  ROW(convert, "Write a model as GGUF or safetensors, in another format")         \
  ROW(pull, "Fetch a model into the store")                                       \
  ROW(ls, "List the models in the store and in the catalogue")                    \
  ROW(rm, "Remove a model from the store")                                        \
  ROW(show, "Describe a model")                                                   \
  ROW(start, "Run a daemon: the head of a cluster, or a node that joins one")     \
  ROW(stop, "End this home's daemon, or its whole cluster")                       \
  ROW(status, "Show a cluster: its nodes, deployments and counters")              \
  ROW(nodes, "List the nodes of a cluster")                                       \
  ROW(ps, "List the models that a cluster has loaded")                            \
  ROW(unload, "Unload a model that a cluster has loaded")                         \
  ROW(drain, "Move all layers from a node, so that it can be stopped")            \
  ROW(events, "List what has happened to a cluster")                              \
  ROW(plan, "Predict which node would get which layers, and the speed")           \
  ROW(key, "Make, list, approve and revoke the keys of a cluster")                \
  ROW(submit, "Submit a job: the prompts of a file, answered by a cluster")       \
  ROW(jobs, "List the jobs of a cluster")                                         \
  ROW(wait, "Wait for a job, and print its result")                               \
  ROW(logs, "Show what happened to a job's shards")                               \
  ROW(cancel, "End a job")                                                        \
  ROW(doctor, "Report what this machine offers and what is missing")              \
  ROW(tokenize, "Turn text into a model's token ids")                             \
  ROW(detokenize, "Turn a model's token ids into text")                           \
  ROW(render, "Show what a model's chat template makes of messages")              \
  ROW(perplexity, "Measure how well a model predicts a text")                     \
  ROW(logits, "Write a model's logits for some tokens to a file")                 \
  ROW(bench, "Measure tokens per second, of this process or a cluster")

#define TROUPE_DECLARE_VERB(name, about) Action add_##name(CLI::App& app);
TROUPE_VERBS(TROUPE_DECLARE_VERB)
#undef TROUPE_DECLARE_VERB

struct Verb {
  const char* name;
  const char* about;
  Action (*add)(CLI::App& app);
};

#define TROUPE_VERB_ROW(name, about) {#name, about, add_##name},
inline constexpr Verb kVerbs[] = {TROUPE_VERBS(TROUPE_VERB_ROW)};
#undef TROUPE_VERB_ROW

}  // namespace troupe::tools
