#!/bin/sh
# policy_captures.sh PROGRAM FOLDER: compares with the recordings of FOLDER, or of
# the one that RINGSCALE_CAPTURES names. 77: there are none, ctest skips.
folder=${RINGSCALE_CAPTURES:-$2}
if [ ! -d "$folder" ]; then
  echo "skipped: no recordings in $folder (RINGSCALE_CAPTURES names another folder)"
  exit 77
fi
exec "$1" "$folder"
