/*
 * Types cells on a host: classify MODEL [CELLS]
 *
 * MODEL is an int8 model. CELLS, or standard input, has one cell per line: panel indices and counts in
 * turn, genes in increasing order, such as `4 1 17 3`. Prints per cell its number, the label or
 * Unassigned, the probability of the best label, and why the cell is not named.
 *
 * Builds as C99 and as C++.
 */
#include "cic.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Exit codes of the command-line tools. */
enum { DONE = 0, BAD_USAGE = 2, BAD_INPUT = 3, BAD_MODEL = 4, NO_MEMORY = 6 };

/* Longest line of a cell, in bytes. */
enum { MAX_LINE = 1 << 20 };

/* Counts of one cell. */
struct cell {
    uint32_t *genes;
    uint32_t *counts;
    size_t n;
};

static const char *reason(uint32_t reject) {
    switch (reject) {
    case CIC_REJECT_NONE: return "accepted";
    case CIC_REJECT_EMPTY: return "empty";
    case CIC_REJECT_TOO_SHALLOW: return "too_shallow";
    case CIC_REJECT_TOO_FEW_GENES: return "too_few_genes";
    case CIC_REJECT_LOW_CONFIDENCE: return "low_confidence";
    case CIC_REJECT_LIBRARY_TOO_LARGE: return "library_too_large";
    case CIC_REJECT_NOISE_LIKE: return "noise_like";
    case CIC_REJECT_UNLIKE_TRAINING: return "unlike_training";
    case CIC_REJECT_DOUBLET_LIKE: return "doublet_like";
    default: return "other";
    }
}

/* The whole file, or null. malloc aligns for every type, and hence to the 4 bytes that a model needs. */
static uint8_t *read_file(const char *path, size_t *len) {
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = NULL;
    long end;
    if (file == NULL) {
        return NULL;
    }
    if (fseek(file, 0, SEEK_END) == 0 && (end = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0) {
        *len = (size_t)end;
        bytes = (uint8_t *)malloc(*len + 1);
        if (bytes != NULL && fread(bytes, 1, *len, file) != *len) {
            free(bytes);
            bytes = NULL;
        }
    }
    fclose(file);
    return bytes;
}

/* Reads one number and moves on; 0 where there is none that fits. */
static int next_number(const char **at, uint32_t *number) {
    char *end;
    unsigned long long found;
    if (**at < '0' || **at > '9') {
        return 0;
    }
    errno = 0;
    found = strtoull(*at, &end, 10);
    if (errno != 0 || found > UINT32_MAX) {
        return 0;
    }
    *number = (uint32_t)found;
    *at = end + strspn(end, " \t\r\n");
    return 1;
}

/* Reads a line into a cell of at most n_genes genes; 0 where it is not pairs of numbers. */
static int parse_cell(const char *line, size_t n_genes, struct cell *cell) {
    const char *at = line + strspn(line, " \t\r\n");
    cell->n = 0;
    while (*at != '\0') {
        if (cell->n == n_genes || !next_number(&at, &cell->genes[cell->n])
            || !next_number(&at, &cell->counts[cell->n])) {
            return 0;
        }
        cell->n += 1;
    }
    return 1;
}

static void print_call(const cic_model *model, unsigned long number, const cic_result *result) {
    const char *name = "Unassigned";
    size_t len = strlen(name);
    double confidence = 0.0;
    if (result->n_top > 0) {
        confidence = result->top[0].probability_q16 / 65536.0;
        if (result->reject == CIC_REJECT_NONE) {
            cic_leaf_name(model, result->top[0].leaf, &name, &len);
        }
    }
    printf("%lu\t%.*s\t%.5f\t%s\n", number, (int)len, name, confidence, reason(result->reject));
}

/* Types the cells of a file, line by line. */
static int type_cells(const cic_model *model, FILE *file, const char *path) {
    cic_info info;
    cic_sample sample;
    cic_result result;
    struct cell cell;
    uint32_t *scratch;
    char *line;
    unsigned long number;
    int code = DONE;

    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    cic_model_info(model, &info);
    scratch = (uint32_t *)malloc(info.scratch_len);
    cell.genes = (uint32_t *)malloc(info.n_genes * sizeof *cell.genes);
    cell.counts = (uint32_t *)malloc(info.n_genes * sizeof *cell.counts);
    line = (char *)malloc(MAX_LINE);
    if (scratch == NULL || cell.genes == NULL || cell.counts == NULL || line == NULL) {
        fprintf(stderr, "error: out of memory\n");
        code = NO_MEMORY;
    }
    for (number = 1; code == DONE && fgets(line, MAX_LINE, file) != NULL; number++) {
        cic_status status;
        if (strlen(line) == MAX_LINE - 1 || !parse_cell(line, info.n_genes, &cell)) {
            fprintf(stderr, "error: %s: line %lu: not pairs of gene and count\n", path, number);
            code = BAD_INPUT;
            break;
        }
        memset(&sample, 0, sizeof sample);
        sample.struct_size = sizeof sample;
        sample.kind = CIC_SAMPLE_KIND_COUNTS32;
        sample.genes = cell.genes;
        sample.values = cell.counts;
        sample.n = cell.n;
        result.struct_size = sizeof result;
        status = cic_classify(model, 0, NULL, &sample, scratch, info.scratch_len, &result);
        if (status != CIC_STATUS_OK) {
            fprintf(stderr, "error: %s: line %lu, entry %" PRIu32 ": %s\n", path, number,
                    result.position + 1, cic_status_text(status));
            code = BAD_INPUT;
            break;
        }
        print_call(model, number, &result);
    }
    free(line);
    free(cell.counts);
    free(cell.genes);
    free(scratch);
    return code;
}

/* Whether the model computes here what it states. */
static cic_status self_test(const cic_model *model, uint32_t *n_run) {
    size_t len = cic_scratch_len(model);
    uint32_t *scratch = (uint32_t *)malloc(len);
    cic_status status = cic_self_test(model, scratch, len, n_run);
    free(scratch);
    return status;
}

int main(int argc, char **argv) {
    /* Some kilobytes: not on the stack of a small device. */
    static cic_model model;
    uint8_t *bytes;
    size_t len = 0;
    uint32_t n_run = 0;
    cic_status status;
    FILE *cells = stdin;
    int code;

    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: classify MODEL [CELLS]\n");
        return BAD_USAGE;
    }
    if (cic_abi_version() != CIC_ABI_VERSION) {
        fprintf(stderr, "error: header %d, library %" PRIu32 "\n", CIC_ABI_VERSION, cic_abi_version());
        return BAD_USAGE;
    }
    bytes = read_file(argv[1], &len);
    if (bytes == NULL) {
        fprintf(stderr, "error: %s: cannot be read\n", argv[1]);
        return BAD_MODEL;
    }
    status = cic_open(bytes, len, &model);
    if (status == CIC_STATUS_OK) {
        status = self_test(&model, &n_run);
    }
    if (status != CIC_STATUS_OK) {
        fprintf(stderr, "error: %s: %s\n", argv[1], cic_status_text(status));
        free(bytes);
        return BAD_MODEL;
    }
    fprintf(stderr, "self-test: %" PRIu32 " golden cells\n", n_run);
    if (argc == 3 && strcmp(argv[2], "-") != 0) {
        cells = fopen(argv[2], "r");
        if (cells == NULL) {
            fprintf(stderr, "error: %s: cannot be read\n", argv[2]);
            free(bytes);
            return BAD_INPUT;
        }
    }
    code = type_cells(&model, cells, argc == 3 ? argv[2] : "-");
    if (cells != stdin) {
        fclose(cells);
    }
    free(bytes);
    return code;
}
