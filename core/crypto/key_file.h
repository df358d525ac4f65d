// Files that hold private keys: readable by their owner only, written so that a
// crash leaves the old file or the new one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/crypto/keys.h"

namespace ringscale::core {

// Reads "privkey:<64 hex digits>" from `path`; creates the file with a new key
// when there is none. kPermission when group or others can read or write it,
// kCorrupt when it holds something else.
Result<PrivateKey> LoadOrCreatePrivateKey(const std::string& path);

// kNotFound when there is no such file; otherwise as above.
Result<PrivateKey> LoadPrivateKey(const std::string& path);

// Who besides its owner may read a key file.
enum class Readers : bool {
  kOwner,
  kOwnerAndGroup,  // keys that other programs manage, such as group ssl-cert's
};

// A regular file of at most 64 KiB that nobody else can access. kNotFound,
// kPermission, kInvalid (not a regular file, too big), kIo.
Result<std::string> ReadPrivateFile(const std::string& path, Readers readers = Readers::kOwner);

// The same for a file that everybody may read, up to `limit` bytes.
Result<std::string> ReadPublicFile(const std::string& path, std::size_t limit);

enum class Replace : bool { kNo, kYes };

// Writes a temporary file beside `path` (mode 0600 or `mode`), syncs it, renames
// it to `path` and syncs the directory. With Replace::kNo an existing file stays
// and the result is kExists.
Result<> WriteFileAtomically(const std::string& path, std::string_view content, Replace replace,
                             unsigned mode = 0600);

}  // namespace ringscale::core
