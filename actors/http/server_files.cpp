#include <utility>

#include <troupe/actors/http/server_files.h>

namespace troupe::http {
namespace {

Result<std::shared_ptr<const ApiKeys>> load_keys(const std::string& path) {
  TROUPE_ASSIGN_OR_RETURN(ApiKeys keys, ApiKeys::load(path));
  return std::make_shared<const ApiKeys>(std::move(keys));
}

}  // namespace

ChangedFiles read_changed_files(const ServeOptions& options, const FileStamps& seen) {
  ChangedFiles changed;
  if (!options.api_key_file.empty()) {
    changed.stamps.keys = stamp_of(options.api_key_file, options.api_key_file);
    if (changed.stamps.keys != seen.keys) changed.keys = load_keys(options.api_key_file);
  }
  if (!options.tls_cert.empty()) {
    changed.stamps.tls = stamp_of(options.tls_cert, options.tls_key);
    if (changed.stamps.tls != seen.tls) changed.tls = load_tls(options.tls_cert, options.tls_key);
  }
  return changed;
}

}  // namespace troupe::http
