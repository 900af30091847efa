#!/bin/sh
# Installs into a temporary folder, then builds the example against it: with pkg-config, shared and
# static, and with CMake's package. Usage: CC= SOURCE= BUILD= check_install.sh
set -e
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
[ -e "$SOURCE/examples/glyphs/glyphs.onnx" ] || exit 77
cmake --install "$BUILD" --prefix "$directory/usr" > /dev/null

pc=$(dirname "$(find "$directory/usr" -name onnxtrain.pc)")
library=$(dirname "$pc")
# The .pc file names the configured prefix; this installation has been moved.
flags=$(PKG_CONFIG_PATH=$pc pkg-config --define-variable=prefix="$directory/usr" \
    --cflags --libs onnxtrain)
"${CC:-cc}" -std=c99 "$SOURCE/examples/embed.c" -o "$directory/embed" $flags \
    -Wl,-rpath,"$library" -lm
"$directory/embed" "$SOURCE/examples/glyphs/glyphs.onnx" "$directory/out.onnx" > /dev/null
[ -s "$directory/out.onnx" ]

mkdir "$directory/project"
cat > "$directory/project/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.16)
project(user C)
find_package(OnnxTrain 0.2 REQUIRED)
add_executable(shared $SOURCE/examples/embed.c)
target_link_libraries(shared OnnxTrain::onnxtrain m)
add_executable(static $SOURCE/examples/embed.c)
target_link_libraries(static OnnxTrain::onnxtrain_static m)
END
cmake -S "$directory/project" -B "$directory/project/build" \
    -DCMAKE_PREFIX_PATH="$directory/usr" -DCMAKE_C_COMPILER="${CC:-cc}" > /dev/null
cmake --build "$directory/project/build" > /dev/null
for kind in shared static; do
    "$directory/project/build/$kind" "$SOURCE/examples/glyphs/glyphs.onnx" "$directory/$kind.onnx" \
        > /dev/null
    cmp "$directory/out.onnx" "$directory/$kind.onnx"
done
