#!/usr/bin/env bash
# topsar without Docker: sets up .venv beside this script once, then runs the command in it.
set -euo pipefail

here=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
venv=$here/.venv
python=$venv/bin/python
log=$venv/setup.log
marker=$venv/.setting-up
unset PYTHONDONTWRITEBYTECODE # in .venv, bytecode is written of what is used, when it is first used

usage() {
  cat <<'END'
usage: ./run_local.sh VERB [ARGUMENTS]

  demo       make a small Sentinel-1 data set, process it, show where the results are
  pairs      list pairs of what lies in data/raw, or of what the archive has
  doctor     check machine, settings and inputs before anything runs
  plan       show what a run would do, and what it would take
  run        fetch what is missing and process the pairs in pairs.txt
  stack      coregister all dates in the radar geometry of one of them, as topsStack does
  status     show how the run is getting on (--watch), or how it ended
  clean      remove intermediate files that no run of these pairs needs (--dry-run)
  export     write a format of finished pairs, without computing anything else (FORMAT, --to DIR)
  timeseries process the pairs, and invert them for velocity and the displacement of every date
  check      check files against the standard of their format (gunw FILE)
  burst      cut a product to bursts, give it its precise orbit, or write it as GAMMA has it
  deramp     take the TOPS ramp off GAMMA's burst images, or put it back
  settings   show every setting, its value, where it comes from and what it means
  simulate   write simulated Sentinel-1 products
  test       run the tests (arguments go to pytest)
  lint       run the linters and the type checker

Flags of a verb: ./run_local.sh VERB --help. The first start sets up .venv beside this script.

EXAMPLES
  ./run_local.sh demo
  ./run_local.sh run --workers 4
  ./run_local.sh run --data /disk/etna --pairs /disk/etna/pairs.txt --env /disk/etna/.env
  ./run_local.sh test -k pairs
END
}

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $1"; shift; for line in "$@"; do say "  $line"; done; exit 1; }

# Python: the newest that is recent enough and can make a virtual environment.

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

can_make_venv() { [[ -n $1 ]] && "$1" -c 'import ensurepip, venv' 2>/dev/null; }

find_python() { # falls back on a recent one that cannot, so that it can be named
  local candidate fallback=
  for candidate in python3.14 python3.13 python3.12 python3.11 python3.10 python3 python; do
    [[ $(version_of "$candidate") =~ ^3\.[1-9][0-9]$ ]] || continue
    if can_make_venv "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
    fallback=${fallback:-$candidate}
  done
  printf '%s\n' "$fallback"
}

install_venv_package() { # Debian and Ubuntu ship Python without ensurepip
  local package=$1 admin=(env DEBIAN_FRONTEND=noninteractive)
  command -v apt-get >/dev/null || die "Python 3.10 or newer with its venv module is needed; please install it."
  ((EUID == 0)) || admin=(sudo -n "${admin[@]}")
  if "${admin[@]}" true 2>/dev/null; then
    say "Installing $package with apt-get: Python cannot make virtual environments without it ..."
    "${admin[@]}" apt-get install -y "$package" </dev/null >>"$log" 2>&1 && return
    "${admin[@]}" apt-get update </dev/null >>"$log" 2>&1 || true
    "${admin[@]}" apt-get install -y "$package" </dev/null >>"$log" 2>&1 && return
  fi
  die "Python cannot make virtual environments here. Please run this, then start again:" \
    "sudo apt-get update && sudo apt-get install -y $package"
}

make_venv() {
  local chosen version
  chosen=$(find_python)
  version=$(version_of "$chosen")
  if ! can_make_venv "$chosen" && command -v uv >/dev/null; then
    uv venv --quiet --allow-existing --python "${version:-3.12}" "$venv" >>"$log" 2>&1 || failed "uv venv"
    return
  fi
  if ! can_make_venv "$chosen"; then
    install_venv_package "python${version:-3}-venv"
    chosen=$(find_python)
    can_make_venv "$chosen" || die "Python 3.10 or newer is needed; please install it, then start again."
  fi
  "$chosen" -m venv "$venv" >>"$log" 2>&1 || failed "$chosen -m venv"
}

# The environment: a stamp says for which Python, pyproject.toml and folder it is complete; a marker says that a
# set-up is under way or was cut short.

identity() { printf '%s %s %s' "$(version_of "$python")" "$(cksum <"$here/pyproject.toml")" "$here"; }

is_ready() { [[ ! -e $marker && -e $venv/.ready$1 && $(<"$venv/.ready$1") == "$(identity)" ]]; }

is_intact() { # its Python starts and is the one that it was made with
  local version
  version=$(version_of "$python")
  [[ -n $version && (! -e $venv/.ready || $(<"$venv/.ready") == "$version "*) ]]
}

failed() {
  ! [[ -e $venv/.ready && $(<"$venv/.ready") == "$(identity)" ]] || rm -f "$marker" # what was complete still is
  say "error: $1 failed. The end of $log:"
  tail -n 20 "$log" | sed 's/^/  /' >&2
  exit 1
}

pip() { PIP_USER=0 "$python" -m pip "$1" --disable-pip-version-check --no-input "${@:2}" >>"$log" 2>&1; }

find_uv() { # several times as fast as pip, but it knows nothing of an index that pip was told of
  command -v uv && return
  [[ -x $venv/bin/uv ]] || { [[ -z ${PIP_INDEX_URL-} ]] && ! pip config get global.index-url && pip install uv; }
  [[ ! -x $venv/bin/uv ]] || printf '%s\n' "$venv/bin/uv"
}

install_topsar() { # in: extra in brackets, or nothing
  local uv
  cd "$here"
  uv=$(find_uv) || true
  if [[ -n $uv ]] && "$uv" pip install --quiet --python "$python" -e ".$1" >>"$log" 2>&1; then
    return
  fi
  pip install --no-compile -e ".$1"
}

prepare() { # in: extra of pyproject.toml, or nothing
  local extra=${1:+-$1}
  ! is_ready "$extra" || return 0
  exec 9<"$here/pyproject.toml" # one set-up at a time
  ! command -v flock >/dev/null || flock -n 9 || { say "Waiting for another set-up of .venv ..." && flock 9; }
  if ! is_ready "$extra"; then set_up "${1-}"; fi
  exec 9<&-
}

set_up() { # in: as for prepare
  local extra=${1:+-$1} started=$SECONDS
  if [[ -e $marker ]] || ! is_intact; then rm -rf "$venv"; fi
  mkdir -p "$venv"
  touch "$marker"
  : >"$log"
  [[ -e $python ]] || make_venv
  say "Setting up .venv with Python $(version_of "$python") (once, a minute or more; details in .venv/setup.log) ..."
  (install_topsar "${1:+[$1]}") || failed "Installing"
  say "Compiling kernels ..."
  "$python" -m topsar.compiling >>"$log" 2>&1 || failed "Compiling"
  identity >"$venv/.ready$extra"
  identity >"$venv/.ready"
  rm -f "$marker"
  say "Done in $((SECONDS - started)) s."
}

# The verbs.

make_env_file() {
  [[ $PWD -ef $here && ! -e .env ]] || return 0
  (umask 077 && cp .env.example .env)
  say "Made .env from .env.example: your settings go there."
}

run_tests() {
  local argument memory_gb workers parallel=()
  memory_gb=$(awk '/^MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
  workers=$(printf '%s\n' "$(nproc)" $((memory_gb / 2)) 8 | sort -n | head -n 1)
  ((workers < 2)) || parallel=(-n "$workers" --dist loadfile --no-loadscope-reorder)
  for argument in "$@"; do
    case $argument in -n* | --numprocesses* | --pdb | -p) parallel=() ;; esac
  done
  cd "$here"
  exec "$python" -m pytest "${parallel[@]}" "$@"
}

run_linters() {
  cd "$here"
  "$venv/bin/ruff" check .
  "$venv/bin/ruff" format --check .
  "$venv/bin/mypy"
  "$venv/bin/shellcheck" run_docker.sh run_local.sh code/entrypoint.sh tests/fake_docker.sh
  "$venv/bin/hadolint" Dockerfile
}

case ${1-} in
  "") usage >&2; exit 2 ;;
  help | -h | --help) usage ;;
  test) prepare test; run_tests "${@:2}" ;;
  lint) prepare dev; run_linters ;;
  *)
    prepare ""
    [[ $1 != run ]] || make_env_file
    exec "$python" -m topsar "$@"
    ;;
esac
