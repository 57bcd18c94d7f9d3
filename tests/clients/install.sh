#!/usr/bin/env bash
# Installs what the tests of the clients in other languages need: Debian's packages, as root, and
# packages of npm in .build/javascript.
set -euo pipefail
cd "$(dirname "$0")/../.."

# A line for each: what shows that it is there (a command or a file), and the package that brings it.
wanted=(
    "g++ g++"
    "clang++ clang"
    "openssl openssl"
    "godot3-server godot3-server"
    "/usr/include/openssl/ssl.h libssl-dev"
    "/usr/include/box2d/box2d.h libbox2d-dev"
    "node nodejs"
    "npm npm"
    "chromium chromium"
)

# The linter of Godot 4's language, apart from all else.
[[ -x .build/gdtoolkit/bin/gdlint ]] || {
    python3 -m venv .build/gdtoolkit
    .build/gdtoolkit/bin/pip install --quiet --disable-pip-version-check gdtoolkit==4.5.0
}

missing=()
for line in "${wanted[@]}"; do
    read -r shown package <<<"$line"
    [[ -e "$shown" ]] || command -v "$shown" >/dev/null || missing+=("$package")
done
if [[ ${#missing[@]} -gt 0 ]]; then
    echo "installing ${missing[*]}"
    apt-get update
    apt-get install --yes --no-install-recommends "${missing[@]}"
fi

# The types' checker, a formatter, a bundler to measure with, and the physics engine of an example.
npm install --silent --no-fund --no-audit --prefix .build/javascript \
    typescript@5.9.3 @types/node@20.19.43 prettier@3.10.1 esbuild@0.28.2 \
    @dimforge/rapier3d-compat@0.21.0
