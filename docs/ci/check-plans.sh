#!/bin/sh
# Checks the plans of a repository against its models and fleets, and against the plans of another commit.
# Usage, at the root of the repository: check-plans.sh BASE      BASE is a commit, such as origin/main
# plans.txt lists the plans, one a line: PLAN MODEL and the flags they were compiled with. Exits 1 when one fails.
set -eu
base=${1:?usage: check-plans.sh BASE}
gates=${GATES:---fail-if-slower 1 --fail-on unfit,wrong-target}
before=$(mktemp)
trap 'rm -f "$before"' EXIT
failed=0
while read -r plan model flags <&3; do
    case $plan in '' | '#'*) continue ;; esac
    echo "== $plan"
    # Flags and gates are lists of words.
    sailplan compile "$model" $flags --check "$plan" >/dev/null || failed=1
    sailplan verify "$plan" --model "$model" || failed=1
    if git show "$base:$plan" >"$before" 2>/dev/null; then
        sailplan diff "$before" "$plan" $gates || failed=1
    else
        echo "new since $base"
    fi
done 3<plans.txt
exit $failed
