#!/usr/bin/env python3
"""Takes one safeguard out of the sources at a time and shows that a named test fails without it.

    tools/dev/mutations.py            all of them: builds in build/mutations, minutes
    tools/dev/mutations.py NAME...    these
    tools/dev/mutations.py --check    only that each edit still fits the sources

Works on a copy of the tree; exit status 1 when a test passes without its safeguard.
"""
import os
import pathlib
import shutil
import subprocess
import sys

from kernel_mutations import KERNEL_MUTATIONS

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRATCH = ROOT / "build" / "mutations"
TREE = SCRATCH / "tree"
BUILD = SCRATCH / "build"
SIMULATION = "simulation: 10000 seeded schedules of faults (odd seeds)"

# name -> the file, the text to replace, its replacement, the binary of the test, the test's name
# (without the room; for `troupe` itself, the file and the name of a test of tests/e2e that needs no
# model), and environment variables for the test. There is a row for each line of defence.
MUTATIONS = {
    "scales of a part's own rows": (
        "runtime/quant/scale_grid.h",
        "const std::size_t at = first_row + row * row_step;",
        "const std::size_t at = row * row_step;",
        "model_tests",
        "matrices of 8-bit floats have the values that transformers and PyTorch give them", {}),
    "scales that are lost": (
        "model/source/hf_folder.cpp",
        "if (quantization.is_quantized || !chosen.formats.empty())",
        "if (false)",
        "model_tests", "8-bit floats that have lost their scales are refused", {}),
    "terms that nobody accepted": (
        "tools/troupe/fetch/pull.cpp",
        "TROUPE_RETURN_IF_ERROR(ask_consent(source, request.accept_license));",
        "",
        "troupe", "test_pull_parts.py::test_terms_that_nobody_can_accept", {}),
    "scales travel with their weights": (
        "model/families/read_config.cpp",
        "if (known.contains(scaled_name(tensor.name))) names.push_back(tensor.name);",
        "if (known.contains(tensor.name)) continue;",
        "model_tests", "a folder's layers can be fetched as blobs and give the same bits", {}),
    "signs of IQ2": (
        "runtime/quant/iq_grids.h",
        "static_cast<unsigned>(std::popcount(seven) & 1) << 7;",
        "static_cast<unsigned>(std::popcount(seven) & 0) << 7;",
        "runtime_tests",
        "formats that are read into Q8_0 have the recorded values, before and after", {}),
    "what a hub stated before": (
        "tools/troupe/fetch/pull.cpp",
        "if (!unchanged && !accepted) return unchanged;",
        "",
        "troupe", "test_pull_catalogue.py::test_a_file_that_changed_is_refused_until_it_is_accepted",
        {}),
    "links out of another program's folder": (
        "tools/troupe/fetch/found_models.cpp",
        "if (ends.first != outer.end()) return false;",
        "",
        "troupe", "test_ls_found.py::test_a_link_that_leads_outside", {}),
    "epoch": (
        "actors/link.cpp",
        "const auto found = workers_.find(epoch);",
        "const auto found = workers_.empty() ? workers_.end() : std::prev(workers_.end());",
        "actors_tests", "link: what belongs to another epoch is dropped, whoever says it", {}),
    "a Hello that is said again": (
        "actors/node/node.cpp",
        "state.phase == Phase::kGreeting && now - state.hello_sent_us > kAskAgainUs",
        "state.phase == Phase::kGreeting && now < state.hello_sent_us",
        "actors_tests", SIMULATION, {"TROUPE_SIM_SCHEDULES": "500"}),
    "nodes that nobody can dial": (
        "actors/coordinator/members.cpp",
        "dial_back(head, frame.peer, frame.header.incarnation, hello);",
        'std::optional<std::string>("");',
        "actors_tests", SIMULATION, {"TROUPE_SIM_SCHEDULES": "500"}),
    "clients that go to the door anew": (
        "actors/facade/client.cpp",
        "state.phase == Phase::kConnecting && refused && state.entered < kEntriesMax",
        "state.phase == Phase::kConnecting && refused && state.entered < 1",
        "actors_tests", SIMULATION, {"TROUPE_SIM_SCHEDULES": "500"}),
    "keys of a head that restarts": (
        "actors/facade/key_search.cpp",
        "return now_us < until_us_ ? Next::kLookAgain : Next::kGiveUp;",
        "return now_us > until_us_ ? Next::kLookAgain : Next::kGiveUp;",
        "actors_tests", SIMULATION, {"TROUPE_SIM_SCHEDULES": "500"}),
    "place in the path": (
        "actors/link.cpp",
        "if (found->second.from == mail->peer) worker = found->second.taker;",
        "worker = found->second.taker;",
        "actors_tests",
        "link: steps come from the stage before, results from the last, failures from the path", {}),
    "jobs of one owner": (
        "actors/journal/jobs.cpp",
        "TROUPE_RETURN_IF_ERROR(make_room_for(piece));",
        "",
        "actors_tests", "journal: one owner's jobs take only so much, and its ended jobs make room", {}),
    "approval": (
        "actors/coordinator/admission.cpp",
        "if (approved || !asks_approval_) return Status::ok();",
        "return Status::ok();",
        "actors_tests", "admission: a newcomer waits until it is approved, if the head was asked to", {}),
    "approval that outlives its head": (
        "actors/coordinator/admission.cpp",
        "admission.waiting_.push_back(std::move(newcomer));",
        "",
        "actors_tests", "admission: an approval outlives the head's process, and is used once", {}),
    "parts of one's own models": (
        "actors/bulk/bulk.cpp",
        "return peer == setup->link->head() || shell.rights.may(peer, sha256);",
        "return true;",
        "actors_tests", "bulk: a node gets parts of its own deployments, and another's look absent",
        {}),
    "orders of another head": (
        "actors/link.cpp",
        "if (row.scope != Scope::kOrder) return false;",
        "return false;",
        "actors_tests",
        "matrix: the link hears each message from the roles of the document, and no others", {}),
    "ids that manifests prove": (
        "model/store/model_id.cpp",
        "if (id != manifest->model) {",
        "if (false) {",
        "actors_tests",
        "opening: a manifest counts if it proves the id of the model that is asked for", {}),
    "models of a journal": (
        "actors/facade/proved_models.cpp",
        "if (manifest->model == model && model::prove(&*manifest)) {",
        "if (!model.empty()) {",
        "actors_tests", "proved models: what nothing proves is forgotten, and what is proved stays",
        {}),
    "checksum": (
        "runtime/wire/frame.cpp",
        "if (checksum(header_bytes.first(kChecksumOffset), body, payload) != header.checksum) {",
        "if (checksum(header_bytes.first(kChecksumOffset), body, payload) == 0) {",
        "runtime_tests", "frame: every flipped bit is detected", {}),
    "allow-list": (
        "runtime/net/zmq/zap.cpp",
        "sound ? allowed.role(question.key) : std::nullopt;",
        "sound ? allowed.role(question.key).value_or(Role::kNode) : Role::kNode;",
        "runtime_tests", "hostile: garbage, no keys and silence at every port", {}),
    "routing ids": (
        "runtime/net/zmq/socket.cpp",
        "if (type == ZMQ_ROUTER) random.emplace();",
        "if (type < 0) random.emplace();",
        "runtime_tests", "hostile: naming the routing ids that come next aborts nobody", {}),
    "silence": (
        "runtime/net/zmq/listener.cpp",
        "    if (end_connection(fd, cookie)) {",
        "    if (fd < 0 && end_connection(fd, cookie)) {",
        "runtime_tests", "hostile: a connection that proves its key and is silent is closed", {}),
    "credits": (
        "actors/engine/plan_step.cpp",
        "if (halted_ || in_flight_.size() >= limits_.steps_in_flight_max) return std::nullopt;",
        "if (halted_) return std::nullopt;",
        "actors_tests", SIMULATION, {"TROUPE_SIM_SCHEDULES": "500"}),
    "rows that are scored": (
        "actors/engine/engine_state.h",
        "scores.size() < scored() ? scores.size() + 1 : log.size();",
        "log.size();",
        "actors_tests", "scoring: a prompt that was computed before is computed again, and says the same",
        {}),
    "rejected rows": (
        "actors/node/worker.cpp",
        "entry.log.resize(std::min<std::size_t>(entry.log.size(), segment.position));",
        "",
        "actors_tests", "speculation: tokens and log-probabilities have the bits that they have without",
        {}),
    "rejected keys": (
        "model/transformer/kv_cache.cpp",
        "pool_->forget_keys(page(layer, key), key % kPageKeys);",
        "(void)page(layer, key);",
        "actors_tests", "speculation: nothing of a rejected row stays in the keys and values", {}),
    "drafted blocks": (
        "actors/engine/plan_step.cpp",
        "table_.filled_by(running.blocks, running.sent, end)) {",
        "table_.filled_by(running.blocks, running.sent, end + draft.ids.size())) {",
        "actors_tests", "speculation: tokens and log-probabilities have the bits that they have without",
        {}),
    "drafted ids": (
        "actors/node/sampled_rows.cpp",
        "if (end < ids.size() && ids[end] != token) break;",
        "if (end >= ids.size()) break;",
        "actors_tests", SIMULATION, {"TROUPE_SIM_SCHEDULES": "500"}),
    "steps between drafts": (
        "actors/node/worker.cpp",
        "return segment.turn == turns && segment.position >= accepted",
        "return segment.position >= accepted",
        "actors_tests", "worker: the next step says which rows of drafted ids are forgotten",
        {}),
    "ids that are scored": (
        "actors/node/scored_rows.cpp",
        "if (id >= 0 && static_cast<std::size_t>(id) < vocabulary) continue;",
        "if (id < 0 || static_cast<std::size_t>(id) <= vocabulary) continue;",
        "actors_tests", "worker: what does not go together is refused", {}),
    "block owners": (
        "actors/engine/block_table.cpp",
        "return a == b || (a && b && *a == *b);",
        "return a == b || (a && b);",
        "actors_tests", "blocks: ids are compared, not only hashed", {}),
    "block ids": (
        "actors/engine/block_table.cpp",
        "std::equal(here.begin(), here.end(), block.ids.begin(), block.ids.end())) {",
        "here.size() == block.ids.size()) {",
        "actors_tests", "blocks: ids are compared, not only hashed", {}),
    "ready blocks": (
        "actors/engine/block_table.cpp",
        "if (!blocks_[number].ready) {",
        "if (!blocks_[number].allocated) {",
        "actors_tests",
        "blocks: a sequence waits for one that is being computed until it is ready or given up", {}),
    "stale blocks": (
        "actors/engine/block_table.cpp",
        "if (block.allocated && block.taken == one.taken) block.ready = true;",
        "if (block.allocated) block.ready = true;",
        "actors_tests",
        "blocks: a sequence waits for one that is being computed until it is ready or given up", {}),
    "markup of a unigram model": (
        "model/tokenizer/tokenizer_json.cpp",
        "!text.empty() && !markup.contains(text)",
        "!text.empty()",
        "model_tests", "text that looks like the markup of a unigram tokenizer is not markup", {}),
    "zeroed blocks": (
        "model/transformer/kv_cache.cpp",
        "      std::memset(block, 0, block_bytes());\n",
        "",
        "model_tests", "pages come zeroed and what is forgotten is zero again", {}),
    "closed sequences": (
        "actors/node/worker.cpp",
        """  for (const std::uint64_t request : step.closed) sequences_.erase(request);
  stage_->free_blocks(step.freed);
  std::vector<std::shared_ptr<model::KvSequence>> handles;
""",
        """  std::vector<std::shared_ptr<model::KvSequence>> handles;
""",
        "actors_tests", "worker: a sequence begins at a shared position with what sampling looks at", {}),
    "commit": (
        "actors/jobs/client_queries.cpp",
        "TROUPE_ASSIGN_OR_RETURN(const JobRecord job, setup->journal->receive(piece, unix_now_ms()));",
        """std::thread([journal = setup->journal, piece] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    (void)journal->receive(piece, unix_now_ms());
  }).detach();
  JobRecord job;
  job.number = 1;
  job.id = ask.id;
  job.shards = job.received = ask.shards;
  job.life = JobLife::kDone;""",
        "troupe", "test_jobs.py::test_commit_comes_before_acknowledgement", {}),
    "events of a run that goes on": (
        "model/training/finetune.cpp",
        "EventFile::open(options_.events, state_.event_bytes)",
        "EventFile::open(options_.events, UINT64_MAX)",
        "model_tests", "the event file of a run that goes on has each step once", {}),
    "the tokenizer of a run that goes on": (
        "tools/troupe/training/job.cpp",
        'identity.emplace_back("tokenizer"', 'if (false) identity.emplace_back("tokenizer"',
        "troupe", "test_train.py::test_first_weights_are_those_of_the_seed", {}),
    "dropout of an example's own epoch": (
        "model/training/finetune.cpp",
        "batch.back().epoch = plan_.epoch_of(state_.step);", "batch.back().epoch = 0;",
        "model_tests", "dropout of a run is drawn anew in each epoch", {}),
    "updates that rows of a table have missed": (
        "model/training/optimizer.cpp",
        "if (updates >= step) return;",
        "if (updates + 1 >= step) return;",
        "model_tests", "rows that no batch reads are updated later to the same bits", {}),
    "decay of rows that were never read": (
        "model/training/optimizer.cpp",
        "if (with.keep == 1.0f) continue;",
        "if (with.keep <= 1.0f) continue;",
        "model_tests", "rows that no batch reads are updated later to the same bits", {}),
    "gradients of a micro-batch's own embeddings": (
        "model/training/network.cpp",
        "wanted.dpooled + begin * config_.channels", "wanted.dpooled",
        "model_tests", "the weights of embeddings do not depend on micro-batches or threads", {}),
    **KERNEL_MUTATIONS,
}


def run(command, **more):
    return subprocess.run([str(word) for word in command], check=False, text=True,
                          errors="replace",  # a failing test may print any bytes
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)


def complaints():
    for name, (file, before, after, *_rest) in MUTATIONS.items():
        count = (ROOT / file).read_text().count(before)
        if count != 1 or before == after:
            yield f"{name}: {file} has {count} times, not once: {before}"


def copy_tree():
    listed = run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT).stdout.splitlines()
    wanted = {path for path in listed if (ROOT / path).is_file()}
    for path in sorted(wanted):
        source, target = ROOT / path, TREE / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # An unchanged file keeps its time, so that a second run builds little.
        if not target.exists() or target.read_bytes() != source.read_bytes():
            shutil.copy(source, target)  # not copy2: the new time makes sure that it is built again
    for old in [p for p in TREE.rglob("*") if p.is_file()]:
        if str(old.relative_to(TREE)) not in wanted:
            old.unlink()


class CannotBuild(Exception):
    """What the compiler said."""


def build(target):
    env = {**os.environ, "CCACHE_BASEDIR": str(TREE), "CCACHE_NOHASHDIR": "1",
           "CCACHE_SLOPPINESS": "pch_defines,time_macros"}
    # What a safeguard used is often unused without it, which is no error here.
    steps = [["cmake", "-S", TREE, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
              "-DTROUPE_BUILD_TESTS=ON", "-DTROUPE_BUILD_EXAMPLES=OFF",
              "-DTROUPE_WARNINGS_ARE_ERRORS=OFF"],
             ["cmake", "--build", BUILD, "-j", os.environ.get("TROUPE_JOBS", os.cpu_count()),
              "--target", {"troupe": "troupe_cli"}.get(target, target)]]
    for step in steps:
        done = run(step, env=env)
        if done.returncode != 0:
            raise CannotBuild(f"cannot build {target}:\n{done.stdout[-4000:]}")


def passes_end_to_end(test, variables):
    known = {"TROUPE_BIN": str(BUILD / "troupe"), "TROUPE_BUILD_DIR": str(BUILD),
             "PYTHONDONTWRITEBYTECODE": "1"}
    # Debian's pytest belongs to Debian's python3.
    done = run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider",
                TREE / "tests" / "e2e" / test], env={**os.environ, **known, **variables}, timeout=600)
    if done.returncode not in (0, 1):
        sys.exit(f"cannot run {test}:\n{done.stdout[-4000:]}")
    return done.returncode == 0, done.stdout


def passes(binary, test, variables):
    if binary == "troupe":
        return passes_end_to_end(test, variables)
    # Catch2 reads commas and brackets in names as its own.
    name = test.replace(",", "\\,").replace("[", "\\[")
    done = run([BUILD / binary, name], env={**os.environ, **variables}, timeout=600)
    if "No tests ran" in done.stdout:
        sys.exit(f"there is no test '{test}' in {binary}")
    return done.returncode == 0, done.stdout


def test_of(name):
    """The binary, the name of its test, and the test's variables, which can be a key."""
    _, _, _, binary, test, variables = MUTATIONS[name]
    return binary, test, tuple(variables.items())


def whole_failures(names):
    """Runs each test once with every safeguard in place, and returns what those that fail said."""
    tests = sorted({test_of(name) for name in names})
    for binary in sorted({binary for binary, _, _ in tests}):
        build(binary)
    failures = {}
    for binary, test, variables in tests:
        whole, said = passes(binary, test, dict(variables))
        if not whole:
            failures[binary, test, variables] = said
    return failures


def prove(name):
    file, before, after, binary, test, variables = MUTATIONS[name]
    source = TREE / file
    text = source.read_text()
    source.write_text(text.replace(before, after))
    try:
        build(binary)
        without, said = passes(binary, test, variables)
    except CannotBuild as error:
        return str(error)
    finally:
        source.write_text(text)
    if without:
        return f"'{test}' passes without it"
    reason = [line.strip() for line in said.splitlines() if "FAILED" in line or "==" in line]
    print(f"{name}: without it '{test}' fails ({reason[0] if reason else 'it crashes'})", flush=True)
    return None


def main():
    words = sys.argv[1:]
    broken = list(complaints())
    for line in broken:
        print(line)
    if broken or words == ["--check"]:
        return 1 if broken else 0
    unknown = [word for word in words if word not in MUTATIONS]
    if unknown:
        print(f"no mutation is called {unknown[0]}; there are {', '.join(MUTATIONS)}")
        return 2
    names = words or list(MUTATIONS)
    copy_tree()
    try:
        failed_whole = whole_failures(names)
    except CannotBuild as error:
        sys.exit(str(error))
    for (binary, test, _), said in failed_whole.items():
        print(f"'{test}' of {binary} fails even with every safeguard in place:\n{said[-2000:]}", flush=True)
    failures = len(failed_whole)
    for name in names:
        if test_of(name) in failed_whole:
            continue
        trouble = prove(name)
        if trouble:
            failures += 1
            print(f"{name}: {trouble}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
