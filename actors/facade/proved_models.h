#pragma once

#include <map>
#include <string>

#include <troupe/actors/journal/journal.h>
#include <troupe/model/store/store.h>

// What a head that starts does with the models of its journal. Called before anything else reads
// them.

namespace troupe::actors {

// The manifests of models that prove the ids of their models, by id.
using ProvedModels = std::map<std::string, model::Manifest>;
// Keeps the models whose manifests prove their ids. Releases before journal schema 7 knew models by
// the hashes of their files: such a model gets its id if this head's own store has the file, and
// the jobs and answers that name it go on. Any other is forgotten; a job or answer that names it
// ends, when it is asked for, with a sentence that says why. Returns the manifests that are left,
// by id.
//   Errors: kBadData (the journal is damaged), and those of the journal.
Result<ProvedModels> prove_models(const std::string& home, model::Store& store, Journal& journal);

}  // namespace troupe::actors
