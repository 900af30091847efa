/* operators.h - prints what the library knows of operators. */
#ifndef OT_TOOLS_OPERATORS_H
#define OT_TOOLS_OPERATORS_H

#include "tools/tool.h"

/* All of them, by name: as the page docs/operators.md, or as plain text. */
int ot_print_operators(bool markdown, struct failure *f);

/* Those that a model uses, with the number of nodes: a table, or the elements of a JSON array. */
int ot_print_uses(const ot_session *session, bool json, struct failure *f);

#endif
