#!/usr/bin/env bash
# Make what joins trainer and simulators over TLS: an authority, the trainer's certificate, tokens.
#
#   docker/make-certificates.sh [FOLDER [NAME ...]]
#
# FOLDER (docker/secrets) gets authority.pem, authority.key, trainer.pem, trainer.key, token, with
# which simulators join, and read-token, with which a run's page and metrics may be read.
# NAMEs are host names or IP addresses under which simulators will reach the trainer; `trainer` (its
# name in the compose file) and localhost are always among them. Nothing that exists is replaced.
set -euo pipefail

readonly DAYS=825 # the longest that common TLS libraries accept

fail() {
    echo "make-certificates: $*" >&2
    exit 1
}

command -v openssl >/dev/null || fail "openssl is missing: apt-get install openssl"

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
folder="${1:-$here/secrets}"
names=(trainer localhost 127.0.0.1 ::1 "${@:2}")

for file in authority.pem authority.key trainer.pem trainer.key token read-token; do
    [[ ! -e "$folder/$file" ]] || fail "$folder/$file exists; to make all anew, remove these first: (cd $folder && rm -f authority.* trainer.* token read-token)"
done

alternatives=()
for name in "${names[@]}"; do
    if [[ "$name" == *:* || "$name" =~ ^[0-9.]+$ ]]; then
        alternatives+=("IP:$name")
    else
        alternatives+=("DNS:$name")
    fi
done

# Others on this machine are kept out by the folder. The files in it are readable, because a
# container's own user, who is not this one, gets to see them one by one.
umask 077
mkdir -p "$folder"
chmod 700 "$folder"

new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
openssl req -x509 "${new_key[@]}" -days "$DAYS" -subj "/CN=entrain authority" \
    -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$folder/authority.key" -out "$folder/authority.pem" 2>/dev/null ||
    fail "openssl could not make the authority (version 3 or newer is needed)"

extensions="$(
    IFS=,
    printf '%s\n' \
        "subjectAltName=${alternatives[*]}" \
        "basicConstraints=critical,CA:FALSE" \
        "keyUsage=critical,digitalSignature" \
        "extendedKeyUsage=serverAuth"
)"
openssl req "${new_key[@]}" -subj "/CN=entrain trainer" -keyout "$folder/trainer.key" 2>/dev/null |
    openssl x509 -req -days "$DAYS" -CA "$folder/authority.pem" -CAkey "$folder/authority.key" \
        -set_serial "0x$(openssl rand -hex 16)" -extfile <(echo "$extensions") \
        -out "$folder/trainer.pem" 2>/dev/null ||
    fail "openssl could not make a certificate for: ${names[*]}"

openssl rand -hex 32 >"$folder/token"
openssl rand -hex 32 >"$folder/read-token"
chmod 644 "$folder"/{authority.pem,trainer.pem,trainer.key,token,read-token}
openssl verify -CAfile "$folder/authority.pem" "$folder/trainer.pem" >/dev/null ||
    fail "the certificate in $folder does not verify"
echo "$folder: certificate for ${names[*]}, valid $DAYS days; tokens"
