#include "relay/wire/frame.h"

#include <cstring>

namespace ringscale::relay {

bool LooksLikeDisco(core::Bytes packet) {
  return packet.size() >= kMinDiscoBytes &&
         std::memcmp(packet.data(), kDiscoMagic, sizeof(kDiscoMagic)) == 0;
}

}  // namespace ringscale::relay
