/* targets.c - the list of targets. */
#include "tests/fuzz/fuzz.h"

const struct fuzz_target fuzz_targets[] = {{"model", fuzz_model},
                                           {"checkpoint", fuzz_checkpoint},
                                           {"zip", fuzz_zip},
                                           {"npy", fuzz_npy},
                                           {"records", fuzz_records},
                                           {"tensor", fuzz_tensor},
                                           {"image", fuzz_image},
                                           {"yaml", fuzz_yaml},
                                           {0}};
