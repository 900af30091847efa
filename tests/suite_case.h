/* suite_case.h - one case of a backend test suite, as a folder. */
#ifndef OT_TESTS_SUITE_CASE_H
#define OT_TESTS_SUITE_CASE_H

/* A model whose input x and expected output y are floats or halves [1, n, 1] and [1, n, parts].
 * nodes: "Op|inputs|outputs|attributes", separated by ';'. */
void suite_case_write(const char *folder, const char *nodes, int type, int n, const float *x,
                      int parts, const float *y);
void suite_case_remove(const char *folder);

#endif
