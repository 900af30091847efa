# tiny.sh - a data set of 60 glyphs in the folder `tiny`, of which steps take milliseconds.
glyphs=60
mkdir tiny
for part in images-idx3 labels-idx1; do
    head=16 size=576 magic='\000\000\010\003' shape='\000\000\000\030\000\000\000\030'
    [ $part = images-idx3 ] || { head=8 size=1 magic='\000\000\010\001' shape=; }
    {
        printf "$magic\\000\\000\\000\\074$shape"
        gunzip -c "$GLYPHS/t10k-$part-ubyte.gz" | tail -c +$((head + 1)) |
            head -c $((glyphs * size))
    } > tiny/train-$part-ubyte
done
