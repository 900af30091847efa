/* skeleton.h - the model as the file spells it, without the payload of its weights; for export.
 *
 * g->skeleton is a serialized ModelProto, unknown fields included: unpack it, put values in, pack
 * it. What was taken out:
 *
 *   from each TensorProto of type FLOAT, FLOAT16 or BFLOAT16 with at least one element that is
 *     - an entry of graph.initializer: the value of its `name`,
 *     - `values` of an entry of graph.sparse_initializer: the value of values.name,
 *     - attribute `value`.t or `sparse_value`.values of a Constant node of graph.node: the value of
 *       the node's output[0],
 *   and the same in the graphs of branches that an If takes (names there begin with the If's first
 *   output and the branch: "y/then_branch/w"),
 *   the fields raw_data, float_data, int32_data, external_data and data_location.
 *
 * In their place stands one external_data entry: key OT_CUT_KEY, value the field that is to hold
 * the payload again, "raw_data", "float_data" (FLOAT) or "int32_data" (FLOAT16 and BFLOAT16: one
 * entry a value). The entry goes when the payload comes. OT_CUT_EXTERNAL: it stood in another file,
 * and export writes a data file. Other external tensors of the model, whatever their type and
 * place, have this entry too, and what the other file held in raw_data.
 * Such a value has kind OT_VALUE_INITIALIZER or OT_VALUE_CONSTANT and is exportable.
 *
 * What was not taken out:
 *   - DOUBLE tensors: a float does not hold all of their bits,
 *   - value_float and value_floats of Constant nodes,
 *   - integers, indices of sparse tensors, everything inside of functions and of other
 *     subgraphs.
 * In the first two export overwrites an entry only where the present value differs from
 * (float)entry, and where there is a pattern, only at its slots: the rest stays bit for bit.
 *
 * A pattern leaves out -0.0, too (masks that multiply leave such zeros behind): the value's
 * negative_zeros says where they stood, for export to write them back.
 *
 * The order of a sparse tensor's indices is that of ascending row-major positions; the slots of its
 * pattern, by position, stand in the same order.
 */
#ifndef OT_ONNX_SKELETON_H
#define OT_ONNX_SKELETON_H

#define OT_CUT_KEY      "onnxtrain.cut"
#define OT_CUT_EXTERNAL "external_data"

#endif
