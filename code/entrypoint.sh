#!/bin/sh
# Container start: a private home with the netrc in it, then topsar. Any user id will do.
set -eu

image=/opt/topsar-image
if [ "${HOME:-}" = "$image/home" ]; then # else it is the user's own, as under Apptainer
  HOME=$(mktemp -d "$HOME/XXXXXX")
  USER=topsar
  LOGNAME=topsar
  NUMBA_CACHE_DIR=$image/cache/numba
  for made in "$image"/compiled/numba-*; do # by the image, which has a name of its own for it
    [ -d "$made" ] || continue
    NUMBA_CACHE_DIR=$image/cache/${made##*/}
    if [ ! -d "$NUMBA_CACHE_DIR" ] && copy=$(mktemp -d "$image/cache/XXXXXX"); then
      { cp -R "$made/." "$copy" && mv -T "$copy" "$NUMBA_CACHE_DIR"; } || rm -rf "$copy"
    fi
  done
  MPLCONFIGDIR=$image/cache/matplotlib
  export HOME USER LOGNAME NUMBA_CACHE_DIR MPLCONFIGDIR
  if [ -r "$image/netrc" ]; then
    (umask 077 && tr -d '\r' <"$image/netrc" >"$HOME/.netrc")
  elif [ -e "$image/netrc" ]; then
    echo "warning: the netrc cannot be read by user $(id -u): going on without it" >&2
  fi
fi
exec topsar "$@"
