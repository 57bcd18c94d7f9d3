#!/usr/bin/env bash
# Write rendered/VARIANT.yaml of each variant, as `kubectl apply -k docker/kubernetes/VARIANT` would
# send it. `make kubernetes`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

command -v kubectl >/dev/null || {
    echo "render: kubectl is missing: https://kubernetes.io/docs/tasks/tools/" >&2
    exit 1
}
readonly VARIANTS=(job jobset ranks kubeflow)
# By which a test sees without kubectl that these were rendered.
sources="$(find base "${VARIANTS[@]}" -type f | LC_ALL=C sort | xargs cat | sha256sum | cut -d' ' -f1)"
for variant in "${VARIANTS[@]}"; do
    {
        echo "# Written by \`make kubernetes\` from docker/kubernetes/$variant: edit that instead."
        echo "# sources: $sources"
        kubectl kustomize "$variant"
    } >"rendered/$variant.yaml"
done
