/* structure.c - the rule for zeros; structure.h gives its reasons. */
#include "runtime/base/structure.h"

#include "runtime/base/glob.h"

static const float usual_share = 0.1f, integer_share = 0.4f;

bool ot_zeros_are_structure(const struct structure_rule *rule, const char *name, bool integers,
                            int64_t zeros, int64_t count, ot_structure *from) {
    const int said = ot_glob_list(rule->mask, name);
    const float share = rule->share > 0 ? rule->share : integers ? integer_share : usual_share;
    *from = OT_STRUCTURE_NONE;
    if (!zeros || said < 0) return false;
    if (said > 0)
        *from = OT_STRUCTURE_OPTION;
    else if (zeros < count && (float)((double)zeros / (double)count) >= share)
        *from = OT_STRUCTURE_ZEROS;
    return *from != OT_STRUCTURE_NONE;
}

bool ot_structure_is_unwanted(const struct structure_rule *rule, const char *name) {
    return ot_glob_list(rule->mask, name) < 0;
}
