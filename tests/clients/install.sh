#!/usr/bin/env bash
# Installs what the tests of the clients in other languages need: Debian's packages, as root.
set -euo pipefail

# A line for each: what shows that it is there (a command or a file), and the package that brings it.
wanted=(
    "g++ g++"
    "clang++ clang"
    "openssl openssl"
    "/usr/include/openssl/ssl.h libssl-dev"
    "/usr/include/box2d/box2d.h libbox2d-dev"
)

missing=()
for line in "${wanted[@]}"; do
    read -r shown package <<<"$line"
    [[ -e "$shown" ]] || command -v "$shown" >/dev/null || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0
echo "installing ${missing[*]}"
apt-get update
apt-get install --yes --no-install-recommends "${missing[@]}"
