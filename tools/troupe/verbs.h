#pragma once

#include <functional>

// The verbs of the command. Each has one file, and a declaration and a row of kVerbs here.
// command_line.cpp gives every verb a subcommand; the verb adds its options and returns the
// function that runs once they are parsed.

namespace CLI {
class App;
}

namespace troupe::tools {

// Runs the verb; the value is the exit status (0, 1 for a failure, 2 for wrong usage).
using Action = std::function<int()>;

Action add_start(CLI::App& app);
Action add_stop(CLI::App& app);
Action add_status(CLI::App& app);
Action add_nodes(CLI::App& app);
Action add_ps(CLI::App& app);
Action add_unload(CLI::App& app);
Action add_drain(CLI::App& app);
Action add_events(CLI::App& app);
Action add_key(CLI::App& app);
Action add_submit(CLI::App& app);
Action add_jobs(CLI::App& app);
Action add_wait(CLI::App& app);
Action add_logs(CLI::App& app);
Action add_cancel(CLI::App& app);
Action add_doctor(CLI::App& app);
Action add_pull(CLI::App& app);
Action add_ls(CLI::App& app);
Action add_rm(CLI::App& app);
Action add_show(CLI::App& app);
Action add_run(CLI::App& app);
Action add_serve(CLI::App& app);
Action add_tokenize(CLI::App& app);
Action add_detokenize(CLI::App& app);
Action add_render(CLI::App& app);
Action add_perplexity(CLI::App& app);
Action add_logits(CLI::App& app);
Action add_bench(CLI::App& app);
Action add_finetune(CLI::App& app);
Action add_train(CLI::App& app);
Action add_classify(CLI::App& app);
Action add_embed(CLI::App& app);
Action add_eval(CLI::App& app);
Action add_export(CLI::App& app);
Action add_convert(CLI::App& app);
Action add_plan(CLI::App& app);

struct Verb {
  const char* name;
  const char* about;
  Action (*add)(CLI::App& app);
};

inline constexpr Verb kVerbs[] = {
    {"run", "Answer a prompt, or chat", add_run},
    {"serve", "Answer HTTP requests in OpenAI's form", add_serve},
    {"finetune", "Train a model on texts of your own", add_finetune},
    {"train", "Train a new model from nothing", add_train},
    {"classify", "Label texts with a trained classifier", add_classify},
    {"embed", "Print the embeddings of texts", add_embed},
    {"eval", "Measure how well a model does on data", add_eval},
    {"export", "Write a model as a folder or a GGUF file, with an adapter merged", add_export},
    {"convert", "Write a model as GGUF or safetensors, in another format", add_convert},
    {"pull", "Fetch a model into the store", add_pull},
    {"ls", "List the models in the store and in the catalogue", add_ls},
    {"rm", "Remove a model from the store", add_rm},
    {"show", "Describe a model", add_show},
    {"start", "Run a daemon: the head of a cluster, or a node that joins one", add_start},
    {"stop", "End this home's daemon, or its whole cluster", add_stop},
    {"status", "Show a cluster: its nodes, deployments and counters", add_status},
    {"nodes", "List the nodes of a cluster", add_nodes},
    {"ps", "List the models that a cluster has loaded", add_ps},
    {"unload", "Unload a model that a cluster has loaded", add_unload},
    {"drain", "Move all layers from a node, so that it may go", add_drain},
    {"events", "List what has happened to a cluster", add_events},
    {"plan", "Predict which node would get which layers, and the speed", add_plan},
    {"key", "Make, list, approve and revoke the keys of a cluster", add_key},
    {"submit", "Submit a job: the prompts of a file, answered by a cluster", add_submit},
    {"jobs", "List the jobs of a cluster", add_jobs},
    {"wait", "Wait for a job, and print its result", add_wait},
    {"logs", "Show what happened to a job's shards", add_logs},
    {"cancel", "End a job", add_cancel},
    {"doctor", "Report what this machine offers and what is missing", add_doctor},
    {"tokenize", "Turn text into a model's token ids", add_tokenize},
    {"detokenize", "Turn a model's token ids into text", add_detokenize},
    {"render", "Show what a model's chat template makes of messages", add_render},
    {"perplexity", "Measure how well a model predicts a text", add_perplexity},
    {"logits", "Write a model's logits for some tokens to a file", add_logits},
    {"bench", "Measure tokens per second, of this process or a cluster", add_bench},
};

}  // namespace troupe::tools
