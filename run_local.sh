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
             (--with dolphin, phase-linking or mintpy: by that program, which is set up in a folder of its own)
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
  ./run_local.sh timeseries --with phase-linking
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

install_system_package() { # in: package; fails where apt-get cannot, or may not, install it
  local package=$1 admin=(env DEBIAN_FRONTEND=noninteractive)
  command -v apt-get >/dev/null || return
  ((EUID == 0)) || admin=(sudo -n "${admin[@]}")
  "${admin[@]}" true 2>/dev/null || return
  say "Installing $package with apt-get ..."
  "${admin[@]}" apt-get install -y "$package" </dev/null >>"$log" 2>&1 && return
  "${admin[@]}" apt-get update </dev/null >>"$log" 2>&1 || true
  "${admin[@]}" apt-get install -y "$package" </dev/null >>"$log" 2>&1
}

install_venv_package() { # Debian and Ubuntu ship Python without ensurepip
  local package=$1
  command -v apt-get >/dev/null || die "Python 3.10 or newer with its venv module is needed; please install it."
  ! install_system_package "$package" || return 0
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
  "$python" -m topsar.compiling >>"$log" 2>&1 ||
    say "warning: kernels cannot be compiled beforehand, the first run does it (details in .venv/setup.log)"
  identity >"$venv/.ready$extra"
  identity >"$venv/.ready"
  rm -f "$marker"
  say "Done in $((SECONDS - started)) s."
}

# Programs that invert time series, each in an environment of its own beside .venv. GDAL's Python module comes as a wheel
# for Python 3.12 and 3.13; elsewhere it is the system's, which its Python alone imports.

has_gdal() { [[ -n $1 ]] && "$1" -c 'import osgeo.gdal, osgeo_utils' 2>/dev/null; }

find_system_gdal() {
  local candidate
  for candidate in /usr/bin/python3 python3; do
    if has_gdal "$candidate" && can_make_venv "$candidate"; then printf '%s\n' "$candidate" && return; fi
  done
  return 1
}

install_program() { # in: folder, packages
  local folder=$1 candidate chosen='' pip=("$1/bin/python" -m pip install --disable-pip-version-check --no-input)
  shift
  for candidate in python3.13 python3.12 python3 python; do
    if [[ $(version_of "$candidate") =~ ^3\.1[23]$ ]] && can_make_venv "$candidate"; then chosen=$candidate && break; fi
  done
  rm -rf "$folder"
  if [[ -n $chosen ]]; then
    "$chosen" -m venv "$folder" && PIP_USER=0 "${pip[@]}" "$@" gdal-wheel
    return
  fi
  chosen=$(find_system_gdal) || { install_system_package python3-gdal && chosen=$(find_system_gdal); } || return
  "$chosen" -m venv --system-site-packages "$folder" && # what GDAL 3.6 of Debian 12 was built for
    PIP_USER=0 "${pip[@]}" "$@" 'numpy<2' --constraint <(printf '%s\n' 'jax<0.5' 'setuptools<70')
}

prepare_program() { # in: dolphin, phase-linking or mintpy
  local packages check folder started=$SECONDS
  case $1 in
    dolphin | phase-linking)
      packages=(dolphin snaphu) check='import osgeo.gdal, osgeo_utils, snaphu, dolphin.timeseries'
      ;;
    mintpy) packages=(mintpy) check='import osgeo.gdal, mintpy.cli.ifgram_inversion' ;;
    *) die "--with $1: there are dolphin, phase-linking and mintpy." ;;
  esac
  folder=$here/.venv-${packages[0]}
  [[ ! -e $folder/.ready ]] || return 0
  log=$folder.log
  say "Setting up ${folder##*/} (once, some minutes, 1 GB; details in ${log##*/}) ..."
  (install_program "$folder" "${packages[@]}" && "$folder/bin/python" -c "$check") >"$log" 2>&1 || {
    say "error: ${packages[0]} could not be set up. The end of $log:"
    tail -n 20 "$log" | sed 's/^/  /' >&2
    die "It needs GDAL's Python module: Python 3.12 or 3.13 in PATH, or on Debian and Ubuntu:" \
      "sudo apt-get update && sudo apt-get install -y python3-gdal python3-venv"
  }
  touch "$folder/.ready"
  say "Done in $((SECONDS - started)) s."
}

# The verbs.

make_env_file() {
  [[ $PWD -ef $here && ! -e .env ]] || return 0
  (umask 077 && cp .env.example .env)
  say "Made .env from .env.example: your settings go there."
}

run_tests() { # more processes than cores: an eighth of the time tests wait, for processes and for events
  local argument memory_gb workers parallel=()
  memory_gb=$(awk '/^MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
  workers=$(printf '%s\n' $(($(nproc) * 3 / 2)) $((memory_gb / 2)) 8 | sort -n | head -n 1)
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
    if [[ $1 == timeseries && ${2-} == --with ]]; then
      prepare_program "${3-}"
      set -- "$1" --timeseries "$3" "${@:4}"
    fi
    [[ $1 != run ]] || make_env_file
    exec "$python" -m topsar "$@"
    ;;
esac
