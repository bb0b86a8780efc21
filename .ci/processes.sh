# For scripts that try the program as it runs, which source this in the repository's root: a folder
# that goes with the script, processes that end with it, and a configuration for a private Redis.
# REELQ_BINARY names a program that is built already.

reelq=${REELQ_BINARY:-$PWD/target/debug/reelq}
[ "${REELQ_BINARY:-}" ] || cargo build --locked --quiet

home=$(mktemp -d) started=()
mkdir "$home/log" "$home/work"
end() {
    local code=$?
    ((code == 0)) || tail -n 20 "$home"/log/* >&2
    kill "${started[@]}" 2>/dev/null || true
    wait
    rm -rf "$home"
}
trap end EXIT

# Starts a process, with its log in a file of this name: start NAME COMMAND..
start() {
    "${@:2}" >"$home/log/$1" 2>&1 </dev/null &
    started+=($!)
}

# The address that stands after these words in a log, as soon as it is there: address NAME WORDS
address() {
    for ((try = 0; try < 300; try++)); do
        sed -nE "s|.*$2(127\.0\.0\.1:[0-9]+).*|\1|p" "$home/log/$1" | grep . && return
        sleep 0.1
    done
    echo "$1 serves nowhere" >&2
    return 1
}

# What is there, if the answer is 200: get URL
get() {
    python3 -c 'import sys; from urllib.request import urlopen as get
with get(sys.argv[1], timeout=10) as it: print(it.read().decode())' "$1"
}

export NO_PROXY=127.0.0.1 NO_COLOR=1 REELQ_CONFIG=$PWD/config/reelq.toml REELQ_LOG__FORMAT=text
export REELQ_REDIS__URL=unix://$home/redis REELQ_POLL__FIRST=50ms
export REELQ_GATEWAY__LISTEN=127.0.0.1:0 REELQ_HTTP__LISTEN=127.0.0.1:0
