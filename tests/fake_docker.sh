#!/bin/bash
# Stands in for docker and podman: writes down each call, its arguments parted by \037, and keeps its state in $FAKE.
#   down      exists: the daemon does not answer, and says this
#   info      what `info` says
#   images/   the label of each image that was built
#   no_build  exists: builds fail
#   wait      exists: `run` waits for a signal, says which in signal, and ends with 130
me=$(basename "$0")
{ printf '%s' "$me"; printf '\037%s' "$@"; printf '\n'; } >>"$FAKE/calls"

case $1 in
  --version) [ "$me" = podman ] && echo "podman version 5.4.2" || echo "Docker version 28.2.2, build e6534b4" ;;
  info)
    if [ -e "$FAKE/down" ]; then
      echo '[]'
      cat "$FAKE/down" >&2
      exit 1
    fi
    cat "$FAKE/info" 2>/dev/null || echo '[name=seccomp,profile=builtin]' ;;
  image) cat "$FAKE/images/${!#}" 2>/dev/null || { echo "Error: No such image: ${!#}" >&2; exit 1; } ;;
  build)
    [ ! -e "$FAKE/no_build" ] || exit 1
    while [ $# -gt 1 ]; do
      case $1 in --tag) tag=$2 ;; --label) label=${2#*=} ;; esac
      shift
    done
    mkdir -p "$FAKE/images" && echo "$label" >"$FAKE/images/$tag" ;;
  run)
    [ -e "$FAKE/wait" ] || exit "$(cat "$FAKE/exit" 2>/dev/null || echo 0)"
    for name in INT TERM; do
      trap 'echo '"$name"' >"$FAKE/signal"; kill $!; exit 130' "$name"
    done
    touch "$FAKE/started"
    sleep 60 &
    wait ;;
  *) exit 64 ;;
esac
