/* schema.c - the fields of ONNX's messages (onnx.proto, IR version 14). */
#include "onnx/schema.h"

static const struct field model[] = {{"ir_version", 1, FIELD_VARINT, 0},
                                     {"producer_name", 2, FIELD_NAME, 0},
                                     {"producer_version", 3, FIELD_NAME, 0},
                                     {"domain", 4, FIELD_NAME, 0},
                                     {"model_version", 5, FIELD_VARINT, 0},
                                     {"doc_string", 6, FIELD_TEXT, 0},
                                     {"graph", 7, FIELD_ONE, GRAPH},
                                     {"opset_import", 8, FIELD_MANY, OPSET},
                                     {"metadata_props", 14, FIELD_MANY, ENTRY},
                                     {"training_info", 20, FIELD_MANY, TRAINING},
                                     {"functions", 25, FIELD_MANY, FUNCTION},
                                     {0}};

static const struct field graph[] = {{"node", 1, FIELD_MANY, NODE},
                                     {"name", 2, FIELD_NAME, 0},
                                     {"initializer", 5, FIELD_MANY, TENSOR},
                                     {"sparse_initializer", 15, FIELD_MANY, SPARSE_TENSOR},
                                     {"doc_string", 10, FIELD_TEXT, 0},
                                     {"input", 11, FIELD_MANY, VALUE_INFO},
                                     {"output", 12, FIELD_MANY, VALUE_INFO},
                                     {"value_info", 13, FIELD_MANY, VALUE_INFO},
                                     {"quantization_annotation", 14, FIELD_MANY, ANNOTATION},
                                     {"metadata_props", 16, FIELD_MANY, ENTRY},
                                     {0}};

static const struct field node[] = {{"input", 1, FIELD_NAME, 0},
                                    {"output", 2, FIELD_NAME, 0},
                                    {"name", 3, FIELD_NAME, 0},
                                    {"op_type", 4, FIELD_NAME, 0},
                                    {"domain", 7, FIELD_NAME, 0},
                                    {"attribute", 5, FIELD_MANY, ATTRIBUTE},
                                    {"doc_string", 6, FIELD_TEXT, 0},
                                    {"overload", 8, FIELD_NAME, 0},
                                    {"metadata_props", 9, FIELD_MANY, ENTRY},
                                    {0}};

static const struct field attribute[] = {{"name", 1, FIELD_NAME, 0},
                                         {"ref_attr_name", 21, FIELD_NAME, 0},
                                         {"doc_string", 13, FIELD_TEXT, 0},
                                         {"type", 20, FIELD_VARINT, 0},
                                         {"f", 2, FIELD_FLOAT, 0},
                                         {"i", 3, FIELD_VARINT, 0},
                                         {"s", 4, FIELD_BYTES, 0},
                                         {"t", 5, FIELD_ONE, TENSOR},
                                         {"g", 6, FIELD_ONE, GRAPH},
                                         {"sparse_tensor", 22, FIELD_ONE, SPARSE_TENSOR},
                                         {"tp", 14, FIELD_ONE, TYPE},
                                         {"floats", 7, FIELD_FLOATS, 0},
                                         {"ints", 8, FIELD_VARINTS, 0},
                                         {"strings", 9, FIELD_BYTES, 0},
                                         {"tensors", 10, FIELD_MANY, TENSOR},
                                         {"graphs", 11, FIELD_MANY, GRAPH},
                                         {"sparse_tensors", 23, FIELD_MANY, SPARSE_TENSOR},
                                         {"type_protos", 15, FIELD_MANY, TYPE},
                                         {0}};

static const struct field tensor[] = {{"dims", 1, FIELD_VARINTS, 0},
                                      {"data_type", 2, FIELD_VARINT, 0},
                                      {"segment", 3, FIELD_ONE, SEGMENT},
                                      {"float_data", 4, FIELD_FLOATS, 0},
                                      {"int32_data", 5, FIELD_VARINTS, 0},
                                      {"string_data", 6, FIELD_BYTES, 0},
                                      {"int64_data", 7, FIELD_VARINTS, 0},
                                      {"name", 8, FIELD_NAME, 0},
                                      {"doc_string", 12, FIELD_TEXT, 0},
                                      {"raw_data", 9, FIELD_BYTES, 0},
                                      {"external_data", 13, FIELD_MANY, ENTRY},
                                      {"data_location", 14, FIELD_VARINT, 0},
                                      {"double_data", 10, FIELD_DOUBLES, 0},
                                      {"uint64_data", 11, FIELD_VARINTS, 0},
                                      {"metadata_props", 16, FIELD_MANY, ENTRY},
                                      {0}};

static const struct field sparse_tensor[] = {{"values", 1, FIELD_ONE, TENSOR},
                                             {"indices", 2, FIELD_ONE, TENSOR},
                                             {"dims", 3, FIELD_VARINTS, 0},
                                             {0}};

static const struct field value_info[] = {{"name", 1, FIELD_NAME, 0},
                                          {"type", 2, FIELD_ONE, TYPE},
                                          {"doc_string", 3, FIELD_TEXT, 0},
                                          {"metadata_props", 4, FIELD_MANY, ENTRY},
                                          {0}};

static const struct field type[] = {{"tensor_type", 1, FIELD_ONE, TYPE_TENSOR},
                                    {"sequence_type", 4, FIELD_ONE, TYPE_SEQUENCE},
                                    {"map_type", 5, FIELD_ONE, TYPE_MAP},
                                    {"optional_type", 9, FIELD_ONE, TYPE_SEQUENCE},
                                    {"sparse_tensor_type", 8, FIELD_ONE, TYPE_TENSOR},
                                    {"denotation", 6, FIELD_NAME, 0},
                                    {0}};

static const struct field type_tensor[] = {
    {"elem_type", 1, FIELD_VARINT, 0}, {"shape", 2, FIELD_ONE, SHAPE}, {0}};

static const struct field type_sequence[] = {{"elem_type", 1, FIELD_ONE, TYPE}, {0}};

static const struct field type_map[] = {
    {"key_type", 1, FIELD_VARINT, 0}, {"value_type", 2, FIELD_ONE, TYPE}, {0}};

static const struct field shape[] = {{"dim", 1, FIELD_MANY, DIMENSION}, {0}};

static const struct field dimension[] = {{"dim_value", 1, FIELD_VARINT, 0},
                                         {"dim_param", 2, FIELD_NAME, 0},
                                         {"denotation", 3, FIELD_NAME, 0},
                                         {0}};

static const struct field entry[] = {{"key", 1, FIELD_NAME, 0}, {"value", 2, FIELD_VALUE, 0}, {0}};

static const struct field segment[] = {
    {"begin", 1, FIELD_VARINT, 0}, {"end", 2, FIELD_VARINT, 0}, {0}};

static const struct field opset[] = {
    {"domain", 1, FIELD_NAME, 0}, {"version", 2, FIELD_VARINT, 0}, {0}};

static const struct field function[] = {{"name", 1, FIELD_NAME, 0},
                                        {"input", 4, FIELD_NAME, 0},
                                        {"output", 5, FIELD_NAME, 0},
                                        {"attribute", 6, FIELD_NAME, 0},
                                        {"node", 7, FIELD_MANY, NODE},
                                        {"doc_string", 8, FIELD_TEXT, 0},
                                        {"opset_import", 9, FIELD_MANY, OPSET},
                                        {"domain", 10, FIELD_NAME, 0},
                                        {"attribute_proto", 11, FIELD_MANY, ATTRIBUTE},
                                        {"value_info", 12, FIELD_MANY, VALUE_INFO},
                                        {"overload", 13, FIELD_NAME, 0},
                                        {"metadata_props", 14, FIELD_MANY, ENTRY},
                                        {0}};

static const struct field training[] = {{"initialization", 1, FIELD_ONE, GRAPH},
                                        {"algorithm", 2, FIELD_ONE, GRAPH},
                                        {"initialization_binding", 3, FIELD_MANY, ENTRY},
                                        {"update_binding", 4, FIELD_MANY, ENTRY},
                                        {0}};

static const struct field annotation[] = {
    {"tensor_name", 1, FIELD_NAME, 0}, {"quant_parameter_tensor_names", 2, FIELD_MANY, ENTRY}, {0}};

const struct field *ot_schema(enum message m) {
    static const struct field none[] = {{0}};
    static const struct field *const schema[MESSAGES] = {[MESSAGE_NONE] = none,
                                                         [MODEL] = model,
                                                         [GRAPH] = graph,
                                                         [NODE] = node,
                                                         [ATTRIBUTE] = attribute,
                                                         [TENSOR] = tensor,
                                                         [SPARSE_TENSOR] = sparse_tensor,
                                                         [VALUE_INFO] = value_info,
                                                         [TYPE] = type,
                                                         [TYPE_TENSOR] = type_tensor,
                                                         [TYPE_SEQUENCE] = type_sequence,
                                                         [TYPE_MAP] = type_map,
                                                         [SHAPE] = shape,
                                                         [DIMENSION] = dimension,
                                                         [ENTRY] = entry,
                                                         [SEGMENT] = segment,
                                                         [OPSET] = opset,
                                                         [FUNCTION] = function,
                                                         [TRAINING] = training,
                                                         [ANNOTATION] = annotation};
    return schema[m];
}
