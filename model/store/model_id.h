#pragma once

#include <string>

#include <troupe/model/store/manifest.h>
#include <troupe/runtime/status.h>

// The id of a model, which its parts prove. A process that has the manifest computes the id from
// it, and each part that arrives is checked against its own hash, so that nobody can give another
// content the same id. Names for people and the hash of the whole file are not in it: a file's hash
// can only be checked by reading all of the file. People write the id as model:HEX. docs/wire.md
// draws the bytes. Pure.

namespace troupe::model {

// Returns the SHA-256, as 64 lower-case hex digits, over the following; numbers are little-endian.
//
//   bytes  field
//      14  "troupe-model-1"
//       8  bytes of the header
//      32  SHA-256 of the header
//       8  number of tensors
//          of each tensor, in the file's order:
//       8    bytes of its name
//            its name
//       8    its offset in the file
//       8    its bytes
//      32    its SHA-256
//
//   Errors: kBadData if a hash is not one, or two tensors are not in the file's order (equal
//   offsets are allowed for tensors without bytes).
Result<std::string> model_id(const Manifest& manifest);

// Checks a manifest that came from elsewhere: its parts must prove the id that it names, and no
// part may lie beyond every file. Sets `file_bytes`, which the id does not prove, to the end of the
// last part. The name remains a claim.
//   Errors: kBadData.
Status prove(Manifest* manifest);

}  // namespace troupe::model
