#!/usr/bin/env bash
# topsar in a container, by Docker or Podman: builds the image where it is missing or out of date, then runs the
# command in it as the caller. Folders and files keep their paths inside, so that every path that is printed is true.
set -euo pipefail
unset CDPATH

HOME=${HOME:-/nonexistent}
here=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
inside=/opt/topsar-image

usage() {
  cat <<'END_OF_USAGE'
usage: ./run_docker.sh [--memory SIZE] [--cpus N] [--image NAME] VERB [ARGUMENTS]

  demo       make a small Sentinel-1 data set, process it, show where the results are
  pairs      list pairs of what lies in data/raw, or of what the archive has
  doctor     check machine, settings and inputs before anything runs
  plan       show what a run would do, and what it would take
  run        fetch what is missing and process the pairs in pairs.txt
  status     show how the run is getting on (--watch), or how it ended
  clean      remove intermediate files that no run of these pairs needs (--dry-run)
  export     write a format of finished pairs, without computing anything else (FORMAT, --to DIR)
  stack      coregister all dates in the radar geometry of one of them, as topsStack does
  timeseries process the pairs, and invert them for velocity and the displacement of every date
  check      check files against the standard of their format (gunw FILE)
  burst      cut a product to bursts, give it its precise orbit, or write it as GAMMA has it
  deramp     take the TOPS ramp off GAMMA's burst images, or put it back
  settings   show every setting, its value, where it comes from and what it means
  simulate   write simulated Sentinel-1 products
  build      build the image and do nothing else

  --memory SIZE   memory that the container may use, such as 16g [all]
  --cpus N        cores that it may use, such as 4 [all]
  --image NAME    use this image as it is

Flags of a verb: ./run_docker.sh VERB --help. The first start builds the image; `--engine native` after the verb takes
the slim one without ISCE2. data/, pairs.txt and .env are those of the current folder, or, where it has none of them,
those beside this script.

EXAMPLES
  ./run_docker.sh demo
  ./run_docker.sh --memory 16g --cpus 4 run
  ./run_docker.sh run --engine native --posting 40
  ./run_docker.sh run --data /disk/etna --pairs /disk/etna/pairs.txt --env /disk/etna/.env
END_OF_USAGE
}

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $1"; shift; for line in "$@"; do say "  $line"; done; exit 1; }
misused() { say "error: $*"; say "  ./run_docker.sh help shows how it is used"; exit 2; }

# --- Docker or Podman ---

engine='' # the command
kind=''   # docker, rootless, remapped (user ids of the daemon are not the host's), or podman

is_podman() { [[ $("$1" --version 2>/dev/null) == *[Pp]odman* ]]; }

answers() { # in: command; sets kind, or trouble
  local said
  if is_podman "$1"; then
    said=$("$1" info 2>&1 >/dev/null) && kind=podman && return
  else
    said=$("$1" info --format '{{.SecurityOptions}}' 2>&1) && kind=docker
    [[ $kind != docker || $said != *name=userns* ]] || kind=remapped
    [[ $kind != docker || $said != *name=rootless* ]] || kind=rootless
    [[ -z $kind ]] || return 0
  fi
  trouble=$said
  return 1
}

choose_engine() {
  local name trouble=
  for name in ${CONTAINER_ENGINE:-docker podman}; do
    if command -v "$name" >/dev/null && answers "$name"; then
      engine=$name
      [[ $name != podman || -z $trouble ]] || say "Docker does not answer; taking Podman."
      return
    fi
  done
  case $trouble in
    "") die "neither Docker nor Podman is installed." \
      "Debian and Ubuntu:  sudo apt-get install docker.io, then: sudo usermod -aG docker \$USER, and log in again" \
      "                    or: sudo apt-get install podman" \
      "WSL2:               Docker Desktop with its WSL integration for this distribution, or one of the above" \
      "elsewhere:          https://docs.docker.com/engine/install" \
      "Without either:     ./run_local.sh" ;;
    *ermission\ denied*) die "this user may not use Docker." \
      "sudo usermod -aG docker \$USER, then log in again (or install Podman, which needs no such right)" ;;
    *) die "Docker is installed and does not answer: ${trouble##*$'\n'}" \
      "Linux:  sudo systemctl start docker" \
      "WSL2:   start Docker Desktop, or: sudo service docker start" ;;
  esac
}

# --- the image ---

inputs() { # one number for everything that the images are made of
  local digest=(sha256sum)
  command -v sha256sum >/dev/null || digest=(shasum -a 256)
  cd "$here"
  find .dockerignore Dockerfile LICENSE README.md code environment.yml pyproject.toml \
    \( -name __pycache__ -o -name '*.egg-info' \) -prune -o -type f ! -name '*.pyc' -print0 |
    LC_ALL=C sort -z | xargs -0 "${digest[@]}" | "${digest[@]}" | cut -d ' ' -f 1
}

prepare_image() { # in: isce2 or native; sets image
  local label=topsar.inputs wanted found
  image=topsar:$1
  wanted=$(inputs)
  found=$("$engine" image inspect --format "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null) || found=none
  [[ $found != "$wanted" ]] || return 0
  say "Building the image $image ($([[ $found == none ]] && echo "once, some minutes" || echo "topsar has changed")) ..."
  "$engine" build --target "$1" --tag "$image" --label "$label=$wanted" "$here" >&2 || {
    [[ $1 == native ]] || set -- "$1" "--engine native takes a slim image that needs nothing from conda-forge"
    die "the image could not be built; what went wrong stands above. Is the network there?" \
      "Behind a proxy: https://docs.docker.com/engine/cli/proxy" "${@:2}"
  }
}

# --- what is seen inside ---

options=(run --rm --stop-timeout 60 --security-opt no-new-privileges
  --workdir "$inside/work" --env "HOME=$inside/home")
writable=() readable=() # what is mounted

field() { # one field of --mount, which is a line of CSV
  if [[ $1 == *[,\"]* ]]; then printf '"%s"' "${1//\"/\"\"}"; else printf '%s' "$1"; fi
}

lies_in() { # in: path, folders
  local path=$1 folder
  for folder in "${@:2}"; do [[ $path != "$folder" && $path != "$folder"/* ]] || return 0; done
  return 1
}

mount() { # in: source, target, readonly or nothing
  options+=(--mount "type=bind,$(field "source=$1"),$(field "target=$2")${3:+,$3}")
}

show() { # in: path, readonly or nothing; mounts it under its own name unless it can be seen already
  ! lies_in "$1" ${writable[@]+"${writable[@]}"} || return 0
  [[ -z ${2-} ]] || ! lies_in "$1" ${readable[@]+"${readable[@]}"} || return 0
  case $1 in
    / | /opt | /bin | /dev | /etc | /lib | /lib64 | /proc | /sbin | /sys | /usr | "$inside" | \
      /bin/* | /dev/* | /etc/* | /lib/* | /lib64/* | /proc/* | /sbin/* | /sys/* | /usr/* | "$inside"/*)
      die "the folder $1 cannot be shown to a container." "put data, pairs and settings into a folder of their own" ;;
  esac
  ! holds_home "$1" ||
    die "the folder $1 holds your home, which is not shown to a container." \
      "put data, pairs and settings into a folder of their own"
  if [[ -n ${2-} ]]; then readable+=("$1"); else writable+=("$1"); fi
  mount "$1" "$1" "${2-}"
}

holds_home() { # in: folder
  lies_in "$HOME" "$1" || lies_in "$(readlink -f -- "$HOME")" "$1"
}

show_beside() { # in: file; shows its folder, for a VRT has neighbours; of the home only what has the file's name
  local folder=${1%/*} name=${1##*/} beside
  if ! holds_home "${folder:-/}"; then
    show "${folder:-/}" readonly
    return
  fi
  for beside in "$1" "$1".* "$folder/${name%.*}".*; do
    [[ ! -f $beside ]] || show "$beside" readonly
  done
}

mount_links() { # in: data folder; what links in it lead to
  local link target
  for link in "$1"/{raw,orbit_data,dem,runs}; do
    if [[ -L $link && -d $link ]]; then show "$(readlink -f -- "$link")"; fi
  done
  while IFS= read -r link; do
    target=$(readlink -f -- "$link") || continue
    [[ ! -f $target ]] || show_beside "$target" # neighbours too: the next link may lead there
    [[ ! -d $target ]] || show "$target" readonly
  done < <(find -H "$1/raw" "$1/orbit_data" "$1/dem" -maxdepth 2 -type l 2>/dev/null)
}

absolute() { # a path in whose folder one can look; ~ after = is not expanded by the shell
  local path=$1 folder
  [[ $path != \~/* ]] || path=$HOME/${path#\~/}
  [[ ! -d $path ]] || { (cd -- "$path" && pwd); return; }
  folder=$(cd -- "$(dirname -- "$path")" 2>/dev/null && pwd) || die "$1: there is no folder $(dirname -- "$path")"
  printf '%s/%s\n' "${folder%/}" "$(basename -- "$path")"
}

# --- the arguments of a verb ---

arguments=()
path_keys=(DEM GEOID WATER_MASK TROPOSPHERE_DIR IONEX_DIR)
paths=() # what they name
data='' pairs='' env_file='' topsar_engine=''
folder='' # of demo and simulate
to=''     # of export, burst and deramp

is_secret() { case $1 in *USERNAME | *PASSWORD | *TOKEN | *KEY) ;; *) return 1 ;; esac; }

names_path() { [[ " ${path_keys[*]} " == *" $1 "* ]]; }

resolve() { # in: value of such a key; prints it, absolute where it is there
  if [[ -e ${1/#\~\//$HOME/} ]]; then absolute "$1"; else printf '%s\n' "$1"; fi
}

set_key() { # in: KEY, value, the arguments that say so
  ! is_secret "$1" || misused "others can read a command line: set $1 in .env"
  if [[ $1 == ENGINE ]]; then topsar_engine=$2; fi
  if names_path "$1"; then
    paths+=("$(resolve "$2")")
    set -- "$1" "$2" -o "$1=${paths[${#paths[@]} - 1]}"
  fi
  arguments+=("${@:3}")
}

take() { # in: flag, value, the arguments that say so
  case $1 in
    --data) data=$(absolute "$2") ;;
    --pairs) pairs=$(absolute "$2") ;;
    --env) env_file=$(absolute "$2") ;;
    --to) if [[ $verb == pairs ]]; then arguments+=("${@:3}"); else to=$(absolute "$2"); fi ;; # of pairs: a date
    --engine) set_key ENGINE "$2" "${@:3}" ;;
    --dem) set_key DEM "$2" ;;
    --geoid) set_key GEOID "$2" ;;
    --water-mask) set_key WATER_MASK "$2" ;;
    --troposphere-dir) set_key TROPOSPHERE_DIR "$2" ;;
    --ionex-dir) set_key IONEX_DIR "$2" ;;
    --*-username | --*-password | --*-token | --*-key) misused "others can read a command line: set it in .env, not $1" ;;
    -o) set_key "${2%%=*}" "${2#*=}" "${@:3}" ;;
    *) arguments+=("${@:3}") ;;
  esac
}

read_arguments() {
  while (($#)); do
    case $1 in
      --all | --debug | --dry-run | --force | --help | --image | --isce | --json | --phase | --scomplex | --search | --watch | -h)
        arguments+=("$1") ;;
      --*=*) take "${1%%=*}" "${1#*=}" "$1" ;;
      -o?*) take -o "${1#-o}" "$1" ;;
      -*) if (($# == 1)); then arguments+=("$1"); else take "$1" "$2" "$1" "$2"; shift; fi ;;
      *) if [[ -z $folder && ($verb == demo || $verb == simulate) ]]; then folder=$1; else arguments+=("$1"); fi ;;
    esac
    shift
  done
}

value_in_env() { # in: KEY; the last value in .env, whatever its line ends
  [[ -f $env_file ]] || return 0
  tr -d '\r' <"$env_file" |
    sed -nE "s/^[[:space:]]*(export[[:space:]]+)?$1[[:space:]]*=[[:space:]]*(\"([^\"]*)\"|'([^']*)'|([^#]*[^#[:space:]])?).*/\\3\\4\\5/p" |
    tail -n 1
}

pass_environment() { # settings of the environment that are no secrets
  local key value
  while IFS= read -r key; do
    value=${!key-}
    [[ -n $value ]] || continue
    case $key in
      ISCE_HOME | ISCE_PYTHON) continue ;; # the host's
      ENGINE) topsar_engine=${topsar_engine:-$value} ;;
    esac
    if names_path "$key"; then paths+=("$value"); fi
    if is_secret "$key"; then
      say "warning: $key of the environment is not passed on, because others could read it there: put it in .env"
    else
      options+=(--env "$key")
    fi
  done < <(sed -nE 's/^([A-Z][A-Z0-9_]*)=.*/\1/p' "$here/.env.example" | tr -d '\r')
}

# --- places ---

make_env_file() { # in: where
  (umask 077 && tr -d '\r' <"$here/.env.example" >"$1")
  say "Made $1: your settings go there. All have defaults; the accounts for downloads do not."
}

make_pairs_file() { # in: where
  {
    echo "# Pairs to process, one per line: reference, then secondary. Lines that begin with # are ignored."
    echo "# Names are those of the products in data/raw, with or without .SAFE or .zip."
  } >"$1"
  say "Made $1: your pairs go there, or let \`run_docker.sh pairs\` list them."
}

needs_pairs() { [[ $verb == run || $verb == timeseries ]]; }

find_places() { # of verbs with data, pairs and settings
  local base=$PWD
  [[ -e data || -e pairs.txt || -e .env ]] || base=$here
  if needs_pairs; then
    [[ -n $env_file || -e $base/.env ]] || make_env_file "$base/.env"
    [[ -n $pairs || -e $base/pairs.txt ]] || make_pairs_file "$base/pairs.txt"
  fi
  data=${data:-$base/data}
  pairs=${pairs:-$base/pairs.txt}
  if [[ -z $env_file && -e $base/.env ]]; then env_file=$base/.env; fi
  if needs_pairs && [[ -f $pairs ]] && ! grep -qE '^[^#[:alnum:]]*[[:alnum:]]' "$pairs"; then
    die "$pairs lists no pairs yet." "Write one per line, or let \`run_docker.sh pairs\` list them."
  fi
}

show_places() {
  case $verb in run | pairs | stack | timeseries) mkdir -p -- "$data" ;; esac
  if [[ -d $data ]]; then
    show "$data"
    mount_links "$data"
  fi
  arguments+=("--data=$data")
  [[ $verb != status ]] || return 0
  takes_files || show_pairs
  if [[ -n $to ]]; then
    mkdir -p -- "$to"
    show "$to"
    arguments+=("--to=$to")
  fi
  [[ -n $env_file ]] || return 0
  [[ ! -f $env_file ]] || show "$env_file" readonly
  arguments+=("--env=$env_file")
}

show_pairs() {
  if [[ $verb == pairs ]]; then
    show "${pairs%/*}" # the list is replaced, and drawn beside it
  elif [[ -f $pairs ]]; then
    show "$pairs" readonly
  fi
  arguments+=("--pairs=$pairs")
}

takes_files() { [[ $verb == burst || $verb == deramp ]]; } # and no pairs

show_lists() { # text files that name the scenes of a stack
  local at
  for at in "${!arguments[@]}"; do
    if [[ -f ${arguments[at]} && ${arguments[at],,} != *.zip ]]; then
      arguments[at]=$(absolute "${arguments[at]}")
      show "${arguments[at]}" readonly
    fi
  done
}

show_files() { # of verbs that take files by name; names of files in files begin in the current folder too
  local name
  show "$PWD"
  options+=(--workdir "$PWD")
  for name in ${arguments[@]+"${arguments[@]}"}; do
    [[ ! -d $name ]] || show "$(absolute "$name")" readonly
    [[ ! -f $name ]] || show_beside "$(absolute "$name")"
  done
}

show_folder() { # of demo and simulate
  local base=$PWD
  if [[ $verb == demo && -z $folder ]]; then
    [[ -e data || -e pairs.txt || -e .env ]] || base=$here
    folder=$base/data/demo
  fi
  [[ -n $folder ]] || return 0 # topsar says that it is missing
  mkdir -p -- "$folder"
  folder=$(absolute "$folder")
  show "$folder"
  arguments=("$folder" ${arguments[@]+"${arguments[@]}"})
}

show_paths() { # those of settings
  local path
  for path in ${paths[@]+"${paths[@]}"}; do
    [[ $path != \~/* ]] || path=$HOME/${path#\~/}
    if [[ $path == /* && -f $path ]]; then show_beside "$path"; fi
    if [[ $path == /* && -d $path ]]; then show "$path" readonly; fi # height tiles
  done
}

show_private_files() {
  local cache=${XDG_CACHE_HOME:-$HOME/.cache}/topsar-image
  if [[ -r $HOME/.netrc ]]; then mount "$HOME/.netrc" "$inside/netrc" readonly; fi
  [[ -d $HOME ]] && mkdir -p -- "$cache" 2>/dev/null || return 0
  mount "$cache" "$inside/cache" # compiled kernels outlive the container
}

# --- who runs it ---

become_caller() {
  local group
  case $kind in
    rootless) options+=(--user 0:0) ;; # the caller, seen from inside
    podman) if ((EUID)); then options+=(--userns=keep-id); fi ;;
    remapped) options+=(--userns=host) ;;
  esac
  if [[ $kind != rootless ]]; then options+=(--user "$(id -u):$(id -g)"); fi
  if [[ $kind == docker || $kind == remapped ]]; then
    for group in $(id -G); do [[ $group == "$(id -g)" ]] || options+=(--group-add "$group"); done
  fi
  if ((EUID)); then options+=(--cap-drop ALL); fi
  if command -v selinuxenabled >/dev/null && selinuxenabled; then options+=(--security-opt label=disable); fi
}

choose_target() { # prints isce2 or native
  local name
  name=$(printf '%s' "${topsar_engine:-auto}" | tr '[:upper:]' '[:lower:]')
  case $name in
    native) echo native ;;
    isce2 | auto)
      if [[ $(uname -m) == x86_64 ]]; then echo isce2; return; fi
      [[ $name == auto ]] || die "ISCE2 exists for x86-64 only, this machine is $(uname -m)." "Take --engine native."
      echo native ;;
    *) misused "ENGINE = $topsar_engine: expected auto, native or isce2" ;;
  esac
}

# --- start ---

image=
while [[ ${1-} == --* && $1 != --help ]]; do
  [[ $# -ge 2 ]] || misused "$1 needs a value"
  case $1 in
    --memory) options+=(--memory "$2" --memory-swap "$2") ;;
    --cpus) options+=(--cpus "$2") ;;
    --image) image=$2 ;;
    *) misused "$1 stands before the verb and is not known there" ;;
  esac
  shift 2
done

verb=${1-}
case $verb in
  "") usage >&2; exit 2 ;;
  help | -h | --help) usage; exit ;;
  build | burst | check | clean | demo | deramp | doctor | export | pairs | plan | run | settings | simulate) ;;
  stack | status | timeseries) ;;
  *) misused "there is no verb $verb" ;;
esac
choose_engine
read_arguments "${@:2}"
pass_environment
case $verb in
  build) ;;
  demo | simulate) show_folder ;;
  check) show_files ;;
  *)
    ! takes_files || show_files
    [[ $verb != stack ]] || show_lists
    find_places
    show_places
    topsar_engine=${topsar_engine:-$(value_in_env ENGINE)}
    for key in "${path_keys[@]}"; do paths+=("$(value_in_env "$key")"); done ;;
esac
show_paths
show_private_files
if [[ -z $image ]]; then
  target=$(choose_target)
  prepare_image "$target"
  options+=(--pull=never)
fi
[[ $verb != build ]] || exit 0
become_caller
options+=(--name "topsar-$verb-$$")
if [[ -t 0 && -t 1 && -t 2 ]]; then options+=(--interactive --tty); fi
if [[ $verb == run ]]; then
  say "Ctrl-C or \`$engine stop topsar-$verb-$$\` ends it cleanly; the same command resumes."
fi
exec "$engine" "${options[@]}" "$image" "$verb" ${arguments[@]+"${arguments[@]}"}
