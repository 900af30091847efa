/* live.h - products with a weight that has a pattern, as sparse.h has them, on dense kernels.
 *
 * Where whole rows of W (filters) or whole input channels have no slot, the dense kernels see what
 * is left: live channels of x, gathered; live rows of W, its zeros written out; the channels of y
 * that they make, spread out among those that are nothing but bias. The gradient of W is that of
 * its slots. x and y are in rows or in lanes of channels.
 */
#ifndef OT_OPS_PRODUCT_LIVE_H
#define OT_OPS_PRODUCT_LIVE_H

#include "ops/product/sparse.h"

/* What is left of a product: its shape, and the rows and channels that it has, ascending; NULL:
 * all of them. */
struct live {
    struct conv_shape part;
    const int32_t *row, *channel;
};

/* Finds it in this layout of x (lanes: of channels, or 0). Each group keeps as many as the fullest;
 * what leaves more than three quarters stays whole; lanes are filled up with channels without
 * slots. false: out of memory. */
bool ot_live_find(struct arena *arena, const struct pattern *p, const struct conv_shape *s,
                  int lanes, struct live *live);

struct live_product;

/* Of the rows and channels in `live`, which has to have been found for this layout. Sets n's sizes
 * of scratch, save and work memory. All belongs to n's arena, but for what ot_live_free returns. */
ot_status ot_live_prepare(struct op_node *n, const struct conv_shape *shape,
                          const struct live *live, const struct live_product **product,
                          ot_error *err);
/* The product of another pattern. All rows and channels of it are live: `live` had no lists. */
void ot_live_follow(const struct live_product *p, const struct pattern *pattern);
void ot_live_free(const struct live_product *p); /* NULL is fine */
/* For op.open and op.close. */
ot_status ot_live_open(struct op_node *n, const struct live_product *p, ot_error *err);
void ot_live_close(struct op_node *n, const struct live_product *p);

/* Of x[0], x[1] and, where there is one, the bias x[2]: m floats. */
void ot_live_forward(struct op_node *n, const struct live_product *p);
void ot_live_backward(struct op_node *n, const struct live_product *p);

#endif
