# Two images of topsar. The last stage, isce2, is the default: ISCE2 and the native engine, from conda-forge.
# `--target native` is the slim one: the native engine alone, without conda.
# The base images are build arguments, so that a mirror or another release can take their place.
ARG PYTHON_IMAGE=docker.io/library/python:3.12-slim-bookworm
ARG MICROMAMBA_IMAGE=docker.io/mambaorg/micromamba:2.5.0
ARG DEBIAN_IMAGE=docker.io/library/debian:bookworm-slim
ARG TOPSAR_VERSION=0.1.0


# --- native: a virtual environment on a Python image --------------------------------------------------------------

FROM ${PYTHON_IMAGE} AS native-build
WORKDIR /src
RUN python3 -m venv /opt/topsar-image/env
ENV PATH=/opt/topsar-image/env/bin:$PATH
# What topsar requires has a layer of its own: changed code does not download it again.
COPY pyproject.toml ./
RUN python3 -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
      >requirements.txt \
    && pip install --no-cache-dir -r requirements.txt
COPY README.md LICENSE ./
COPY code code
# Numba knows the source of a compiled kernel by its time, of which a layer may keep whole seconds alone.
RUN pip install --no-cache-dir --no-deps . \
    && find /opt/topsar-image/env -path '*/topsar/*.py' -exec sh -c 'touch -d "@$(stat -c %Y "$1")" "$1"' _ {} \;


FROM ${PYTHON_IMAGE} AS native
# Wheels expect libexpat of the system, and Numba's threads libgomp; slim images have neither.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libexpat1 libgomp1 tini \
    && rm -rf /var/lib/apt/lists/*
COPY --from=native-build /opt/topsar-image/env /opt/topsar-image/env
COPY code/entrypoint.sh /opt/topsar-image/
# Open to all: the user is the caller, whom the image does not know.
RUN mkdir -m 1777 /opt/topsar-image/home /opt/topsar-image/cache /opt/topsar-image/work
ENV PATH=/opt/topsar-image/env/bin:$PATH \
    HOME=/opt/topsar-image/home \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1
# For the processor of the machine that builds; others compile at their first start.
RUN NUMBA_CACHE_DIR=/opt/topsar-image/compiled/numba-$(date +%s) python3 -m topsar.compiling
USER 1000:1000
WORKDIR /opt/topsar-image/work
RUN HOME=$(mktemp -d) && export HOME && topsar doctor --image && rm -rf "$HOME"
ARG TOPSAR_VERSION
LABEL org.opencontainers.image.title="topsar (native)" \
      org.opencontainers.image.description="Parallel, checkpointed Sentinel-1 TOPS interferometry, native engine" \
      org.opencontainers.image.version="${TOPSAR_VERSION}" \
      org.opencontainers.image.licenses="MIT"
# No HEALTHCHECK: a batch job is healthy as long as it runs; its exit code and `topsar status` say the rest.
ENTRYPOINT ["/usr/bin/tini", "-s", "--", "sh", "/opt/topsar-image/entrypoint.sh"]
CMD ["--help"]


# --- isce2: a conda environment on a plain Debian -----------------------------------------------------------------

FROM ${MICROMAMBA_IMAGE} AS isce2-build
ARG ISCE2_VERSION=2.6.4
ARG CONDA_PYTHON_VERSION=3.12
# hadolint ignore=DL3002,DL3066
USER root
WORKDIR /src
# What cannot be solved is said at once: the solver takes minutes to say less.
RUN case "${ISCE2_VERSION}" in \
      2.[0-5].* | 2.6.[0-3]) \
        echo "error: conda-forge built ISCE2 ${ISCE2_VERSION} for GDAL 3.6, and rasterio 1.4, which topsar requires, for" \
             "GDAL 3.9 and newer: take ISCE2_VERSION=2.6.4 or newer" >&2; exit 1 ;; \
    esac; \
    case "${CONDA_PYTHON_VERSION}" in \
      3.10 | 3.11 | 3.12) ;; \
      *) echo "error: CONDA_PYTHON_VERSION=${CONDA_PYTHON_VERSION}: conda-forge has ISCE2 and topsar together for" \
              "3.10, 3.11 and 3.12" >&2; exit 1 ;; \
    esac
COPY environment.yml ./
RUN micromamba create --yes --prefix /opt/topsar-image/env --file environment.yml \
      "isce2=${ISCE2_VERSION}" "python=${CONDA_PYTHON_VERSION}" \
    && micromamba clean --all --yes \
    && find /opt/topsar-image/env -name '*.a' -delete
COPY pyproject.toml README.md LICENSE ./
COPY code code
RUN /opt/topsar-image/env/bin/python3 -m pip install --no-cache-dir --no-deps . \
    && find /opt/topsar-image/env -path '*/topsar/*.py' -exec sh -c 'touch -d "@$(stat -c %Y "$1")" "$1"' _ {} \; \
    && ln -s "$(/opt/topsar-image/env/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/isce" \
      /opt/topsar-image/isce


FROM ${DEBIAN_IMAGE} AS isce2
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates tini \
    && rm -rf /var/lib/apt/lists/*
COPY --from=isce2-build /opt/topsar-image /opt/topsar-image
COPY code/entrypoint.sh /opt/topsar-image/
RUN mkdir -m 1777 /opt/topsar-image/home /opt/topsar-image/cache /opt/topsar-image/work
# What activating the environment would set. ISCE_HOME and ISCE_PYTHON also overrule a .env that names the host's.
ENV ISCE_HOME=/opt/topsar-image/isce \
    ISCE_PYTHON=/opt/topsar-image/env/bin/python3 \
    GDAL_DATA=/opt/topsar-image/env/share/gdal \
    PROJ_DATA=/opt/topsar-image/env/share/proj \
    PATH=/opt/topsar-image/isce/applications:/opt/topsar-image/env/bin:$PATH \
    HOME=/opt/topsar-image/home \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1
RUN NUMBA_CACHE_DIR=/opt/topsar-image/compiled/numba-$(date +%s) python3 -m topsar.compiling
USER 1000:1000
WORKDIR /opt/topsar-image/work
# The solver has been seen to let numpy 2 pass: what was installed is asked, not what was asked for.
RUN HOME=$(mktemp -d) && export HOME && topsar doctor --image --isce && rm -rf "$HOME"
ARG TOPSAR_VERSION
LABEL org.opencontainers.image.title="topsar (ISCE2)" \
      org.opencontainers.image.description="Parallel, checkpointed Sentinel-1 TOPS interferometry, ISCE2 and native engine" \
      org.opencontainers.image.version="${TOPSAR_VERSION}" \
      org.opencontainers.image.licenses="MIT AND Apache-2.0"
ENTRYPOINT ["/usr/bin/tini", "-s", "--", "sh", "/opt/topsar-image/entrypoint.sh"]
CMD ["--help"]
