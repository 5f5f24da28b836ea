#!/usr/bin/env bash
# Installs what building and the demo need: Debian packages that are missing, and a virtual environment with the
# packages of tools/requirements.txt. Quick when everything is there. Usage: tools/setup.sh PYTHON, where PYTHON is
# the interpreter in the environment to make; any other existing interpreter is taken as it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(g++ cmake ninja-build ccache pkg-config python3 python3-venv python3-dev clang-format
          nlohmann-json3-dev libyaml-cpp-dev libfmt-dev libspdlog-dev libcli11-dev
          libboost-dev prometheus-cpp-dev
          libgtest-dev libpcre2-dev libutf8proc-dev libxxhash-dev zlib1g-dev libzstd-dev)
python="${1:-build/venv/bin/python}"
venv=build/venv
requirements=tools/requirements.txt
stamp="$venv/installed.txt"

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
      echo "$package"
  done
}

install_packages() {
  if ! command -v dpkg-query >/dev/null; then
    echo "setup: not a Debian system; these must be there by other means: ${packages[*]}" >&2
    return
  fi
  local missing
  mapfile -t missing < <(missing_packages)
  if ((${#missing[@]} == 0)); then
    return
  fi
  local as_root=()
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      echo "setup: as root, run: apt-get update && apt-get install ${missing[*]}" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  echo "setup: installing Debian packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# The stamp holds the text that was installed, so an edited requirement is noticed and nothing else is.
wanted() { printf '%s\n# torch: %s\n' "$(cat "$requirements")" "${TORCH_PIP_ARGS:-}"; }

install_python() {
  if [[ "$python" != "$venv/bin/python" && -x "$python" ]]; then
    return
  fi
  if [[ -x "$venv/bin/python" && -f "$stamp" && "$(cat "$stamp")" == "$(wanted)" ]]; then
    return
  fi
  echo "setup: installing into $venv: $(grep -v '^#' "$requirements" | tr '\n' ' ')"
  python3 -m venv "$venv"
  local torch others
  torch="$(grep '^torch==' "$requirements")"
  mapfile -t others < <(grep -v -e '^#' -e '^torch==' "$requirements")
  # shellcheck disable=SC2086  # TORCH_PIP_ARGS is a list of words
  "$venv/bin/pip" install --quiet --disable-pip-version-check ${TORCH_PIP_ARGS:-} "$torch"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "${others[@]}"
  wanted >"$stamp"
}

install_packages
install_python
