/* made_up.c - tells names that an exporter has made up from names that a model's author gave. */
#include "runtime/model/made_up.h"

#include <ctype.h>
#include <strings.h>
#include <string.h>

#include "ops/op.h"

/* Operators of PyTorch that have another name in ONNX, or none, and other words that exporters
 * number. */
static const char *const words[] = {"val",
                                    "tmp",
                                    "const",
                                    "constant",
                                    "clone",
                                    "alias",
                                    "arange",
                                    "bmm",
                                    "cat",
                                    "chunk",
                                    "clamp",
                                    "contiguous",
                                    "copy",
                                    "detach",
                                    "diag",
                                    "embedding",
                                    "eye",

                                    "flip",
                                    "full",
                                    "getitem",
                                    "index",
                                    "index_put",
                                    "index_select",
                                    "lift_fresh",
                                    "lift_fresh_copy",
                                    "linspace",
                                    "logical_not",
                                    "masked_fill",
                                    "meshgrid",
                                    "mm",
                                    "new_full",
                                    "new_ones",
                                    "new_zeros",
                                    "ones",
                                    "outer",
                                    "permute",
                                    "repeat",
                                    "repeat_interleave",
                                    "roll",
                                    "rsqrt",
                                    "rsub",
                                    "scalar_tensor",
                                    "select",
                                    "slice_scatter",
                                    "select_scatter",
                                    "stack",
                                    "t",
                                    "to",
                                    "to_copy",
                                    "tril",
                                    "triu",
                                    "type_as",
                                    "unbind",
                                    "unflatten",
                                    "unfold",
                                    "view",
                                    "expand_as",
                                    "zeros",
                                    "zeros_like",
                                    "ones_like",
                                    "full_like",
                                    "lifted_tensor",
                                    "c_lifted_tensor",
                                    "tensor_constant",
                                    "scaled_dot_product_attention"};

static bool begins_with(const char *s, const char *with) { return !strncmp(s, with, strlen(with)); }

/* How many characters before a number at the end and its underscores: "val_110" has 3. */
static size_t stem_length(const char *s, size_t n) {
    size_t m = n;
    while (m && isdigit((unsigned char)s[m - 1])) m--;
    while (m && m < n && s[m - 1] == '_') m--;
    return m;
}

/* Equal but for case and underscores, as "index_select" and "IndexSelect"? */
static bool is_same_word(const char *a, size_t n, const char *b) {
    size_t i = 0;
    for (;;) {
        while (i < n && a[i] == '_') i++;
        while (*b == '_') b++;
        if (i == n || !*b) return i == n && !*b;
        if (tolower((unsigned char)a[i++]) != tolower((unsigned char)*b++)) return false;
    }
}

static bool is_operator(const char *s, size_t n) {
    const struct op *op;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (is_same_word(s, n, words[i])) return true;
    for (int i = 0; (op = ot_op_at(i)); i++)
        if (!op->internal && !op->domain && is_same_word(s, n, op->name)) return true;
    return false;
}

/* "unsqueeze_14", "where", "_to_copy_2", "slice_tensor_3". */
static bool is_numbered_operator(const char *name) {
    static const char *const overloads[] = {"_tensor", "_scalar", "_default", "_int"};
    const size_t all = strlen(name);
    const size_t n = stem_length(name, all);
    if (is_same_word(name, n, "Constant") || is_same_word(name, n, "tensor_constant")) return true;
    if (n < all && name[n] != '_') return false;
    if (is_operator(name, n)) return n > 0;
    for (size_t i = 0; i < sizeof overloads / sizeof *overloads; i++) {
        const size_t m = strlen(overloads[i]);
        if (n > m && !strncasecmp(name + n - m, overloads[i], m) && is_operator(name, n - m))
            return true;
    }
    return false;
}

/* "/attn/Slice_output_0", "Plus214_Output_0". */
static bool is_output_of_node(const char *name) {
    const size_t n = stem_length(name, strlen(name));
    return *name == '/' || (n >= 7 && n < strlen(name) && !strncasecmp(name + n - 7, "_output", 7));
}

/* "model/add/y:0", "model/Const_2:0", "const_fold_opt__55". */
static bool is_of_tensorflow(const char *name) {
    const char *last = strrchr(name, '/'), *colon = strrchr(name, ':');
    const size_t all = strlen(name), n = stem_length(name, all);
    if (n + 2 < all && name[n] == '_' && name[n + 1] == '_') return true;
    if (!last || !colon || colon < last) return false;
    last++;
    const size_t m = stem_length(last, (size_t)(colon - last));
    return (m == 1 && (*last == 'x' || *last == 'y')) || (m == 5 && begins_with(last, "Const"));
}

bool ot_name_is_made_up(const char *name) {
    if (!name[strspn(name, "0123456789")]) return true;
    if (begins_with(name, "onnx::") || begins_with(name, "p2o.") || begins_with(name, "ortshared_"))
        return true;
    return strstr(name, ".tmp_") || is_output_of_node(name) || is_of_tensorflow(name) ||
           is_numbered_operator(name);
}
