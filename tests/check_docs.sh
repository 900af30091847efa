#!/bin/sh
# Checks that the guide knows every option of the command, and that the links and files it names
# are there.
# Usage: SOURCE=<project root> check_docs.sh
cd "${SOURCE:?}" || exit 1
bad=0
if [ -e tools/options.def ]; then
    for key in $(sed -n 's/^OPTION([a-z0-9_]*, "\([a-z0-9_]*\)".*/\1/p' tools/options.def); do
        case $key in model | data) continue ;; esac
        grep -q "\`$key\`" docs/configuration.md ||
            { echo "docs/configuration.md does not mention $key"; bad=1; }
    done
fi
for page in *.md docs/*.md examples/*/*.md; do
    for link in $(grep -oE '\]\([^)#]+' "$page" | sed 's/^](//' | grep -v '^https\?:'); do
        [ -e "$(dirname "$page")/$link" ] || { echo "$page: $link does not exist"; bad=1; }
    done
done
for file in $(grep -ohE '`(bench|tests|onnx|ops|runtime|tools|cmake|examples)/[a-z0-9_./*]+`' \
    *.md docs/*.md | tr -d '\140' | sort -u); do
    ls -d $file > /dev/null 2>&1 || { echo "the guide names $file, which does not exist"; bad=1; }
done
exit $bad
