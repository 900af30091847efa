/* op_table.c - the table of operators: the one file that knows them all. */
#include <string.h>

#include "ops/op.h"

#define OP(name, file) extern const struct op ot_op_##name;
#include "ops/ops.def"
#undef OP

static const struct op *const table[] = {
#define OP(name, file) &ot_op_##name,
#include "ops/ops.def"
#undef OP
    NULL};

const struct op *ot_op_at(int i) { return table[i]; }

static const struct op *find_op(const char *domain, const char *op_type) {
    for (int i = 0; table[i]; i++) {
        const char *own = table[i]->domain ? table[i]->domain : "";
        if (!strcmp(table[i]->name, op_type) && !strcmp(own, domain)) return table[i];
    }
    return NULL;
}

const struct op *ot_op_find(const char *op_type) { return find_op("", op_type); }

const struct op *ot_op_of(const struct node *node) { return find_op(node->domain, node->op_type); }
