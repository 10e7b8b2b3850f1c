# shellcheck shell=bash
# Comes last: uploads what was written without internet, then runs the closing commands, each
# whatever became of the others.
: "${suite:?}" "${runs:?}" "${upload:?}" "${start:?}" "${python:?}" "${closing:?}"
code=0
if [ "$upload" = yes ]; then
    for run in "$suite"/$runs/; do  # a pattern
        if [ -d "$run" ] && ! compgen -G "$run*.synced" > /dev/null; then
            "${python[@]}" -m wandb sync "$run" || code=1
        fi
    done
fi
for command in "${closing[@]}"; do
    words=()
    eval "words=($command)"
    "${start[@]}" "${words[@]}" || code=1
done
exit $code
