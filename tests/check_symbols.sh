#!/bin/sh
# Checks with nm what the library exports, what its objects define, and what it imports:
#  - the shared library exports the functions of onnxtrain.h and nothing else;
#  - every external symbol of our objects starts with ot_;
#  - a kernel object defines one symbol, its table: nothing else can leak an instruction set;
#  - no object calls what would print, exit, abort, read the environment, or allocate behind the
#    session's back.
# Usage: NM= SOURCE= BUILD= OBJECTS=<list of object files> check_symbols.sh
cd "${BUILD:?}" || exit 1
nm=${NM:-nm}
bad=0
complain() {
    [ -z "$2" ] || { echo "$1:"; echo "$2" | sed 's/^/    /'; bad=1; }
}

exported=$($nm -D --defined-only libonnxtrain.so | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }')
declared=$(grep -oE '\bot_[a-z0-9_]+\(' "$SOURCE/runtime/onnxtrain.h" | tr -d '(' |
    grep -v '_fn$' | sort -u)
complain 'exported, but not declared in onnxtrain.h' \
    "$(for s in $exported; do echo "$declared" | grep -qx "$s" || echo "$s"; done)"
complain 'declared in onnxtrain.h, but not exported' \
    "$(for s in $declared; do echo "$exported" | grep -qx "$s" || echo "$s"; done)"

ours=$(cat "${OBJECTS:?}")
complain 'external symbols without ot_' \
    "$($nm -A --defined-only --extern-only $ours | grep -vE ' [A-Z] ot_')"
# The end of a process concerns all its sessions: the gate of dnnl_exit.c is the one exception.
complain 'variables that could be written (size, section)' \
    "$(for object in $(echo "$ours" | grep -v '/product/dnnl_exit\.c\.o$'); do
        objdump -h "$object" | awk -v object="$object" \
            '$2 ~ /^\.(data|bss|tdata|tbss)(\.|$)/ && $2 !~ /^\.data\.rel\.ro/ && $3 !~ /^0+$/ {
                print object, $3, $2 }'
    done)"

for object in $(find . -path './CMakeFiles/ot_kernels_*' -name '*.o'); do
    table=$($nm --defined-only --extern-only "$object" | awk '{ print $2 " " $3 }')
    echo "$table" | grep -qE '^[RD] ot_kernels_[a-z0-9]+$' && [ "$(echo "$table" | wc -l)" = 1 ] ||
        complain "$object defines more than its table" "$table"
done

# malloc and its kin belong to arena.c alone, as the default of ot_allocator.
forbidden='exit|_exit|_Exit|abort|__assert_fail|raise|kill|signal|sigaction|system|popen|fork'
forbidden="$forbidden|printf|puts|putchar|fputs|fprintf|vprintf|vfprintf|perror|stdout|stderr|stdin"
forbidden="$forbidden|__printf_chk|__fprintf_chk|__vfprintf_chk|getenv|secure_getenv|setenv"
forbidden="$forbidden|setlocale"
forbidden="$forbidden|strtok|rand|srand|random|time|localtime|gmtime|alloca|dlopen"
complain 'forbidden imports' "$($nm -A --undefined-only $ours | grep -E " U ($forbidden)(@|$)")"
memory='malloc|calloc|realloc|free|aligned_alloc|posix_memalign|strdup|strndup|asprintf|vasprintf'
complain 'memory that is not the session'\''s' \
    "$($nm -A --undefined-only $ours | grep -E " U ($memory)(@|$)" | grep -v 'base/arena\.c\.o')"

# The command is linked with the static library: a name that both define would hide one of them.
if [ -e libot_tools.a ]; then
    $nm --defined-only --extern-only libot_tools.a | awk 'NF == 3 { print $3 }' | sort > tools.names
    $nm --defined-only --extern-only libonnxtrain.a | awk 'NF == 3 { print $3 }' | sort > lib.names
    complain 'names of both the library and the command' "$(comm -12 tools.names lib.names)"
    complain 'external symbols of the command without ot_' "$(grep -v '^ot_' tools.names)"
    rm -f tools.names lib.names
fi
exit $bad
