#!/usr/bin/env bash
# Run a training on a machine that may be taken away, to the end:
#   scripts/spot.sh gr00t-rl train --task TASK --checkpoint latest agent.total_iterations=300
# It starts the command again for as long as SIGTERM ended it (exit code 75, or 143 before it could save anything).
# SIGTERM and Ctrl-C are passed on to the command and to all that it started; then nothing is started again.
# Leaves with 0: finished; 75: this script itself was told to stop, start it again, here or elsewhere; 130: Ctrl-C;
# anything else: the command failed with that code, and would fail again.
set -um # m: the command is a process group of its own
[ $# -gt 0 ] || { echo "usage: $0 COMMAND [ARGUMENT...]" >&2; exit 2; }

asked=0 signals=0 group=
pass_on() {
    asked=$1 signals=$((signals + 1))
    [ -z "$group" ] || kill -TERM -- "-$group" 2>/dev/null
}
trap 'pass_on 75' TERM
trap 'pass_on 130' INT

code=75
preempted() { [ $code -eq 75 ] || [ $code -eq 143 ]; }
while [ "$asked" -eq 0 ] && preempted; do
    [ -z "$group" ] || echo "spot.sh: SIGTERM ended the command; starting it again" >&2
    "$@" </dev/null &
    group=$!
    [ "$asked" -eq 0 ] || kill -TERM -- "-$group" # it came before there was a group
    # a signal ends `wait` early
    while before=$signals; wait "$group"; code=$?; [ "$signals" -ne "$before" ]; do :; done
    # a wrapper, such as isaaclab.sh, dies of the signal while the training still saves
    while [ $code -eq 143 ] && kill -0 -- "-$group" 2>/dev/null; do sleep 0.2; done
done
preempted && code=$asked
exit $code
