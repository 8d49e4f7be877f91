/*
 * Types cells with the library of runtime/capi, in C without a C library: the model's golden cells, then a thousand
 * cells of random counts. Prints what the host computes for the same.
 */
#include <stddef.h>
#include <stdint.h>

#include "board.h"
#include "cic.h"

/* Written by cic-quantize --emit c: model and model_len. */
#include MODEL

/* Most genes that a cell here lists, cells, and those of them that get a line of their own. */
enum { MAX_LISTED = 128, N_CELLS = 1000, N_LINES = 4 };

static cic_model handle;
static uint32_t scratch[SCRATCH_LEN / 4];
static uint32_t genes[MAX_LISTED];
static uint16_t counts[MAX_LISTED];

/* Marsaglia's xorshift. */
static uint32_t next_random(void) {
    static uint32_t state;
    state = state == 0 ? 2463534242u : state;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

/* About one gene in eight. */
static size_t random_cell(uint32_t n_genes) {
    uint32_t depth = next_random() % 12;
    uint32_t gene;
    size_t n = 0;
    for (gene = 0; gene < n_genes && n < MAX_LISTED; gene++) {
        if (next_random() % 8 == 0) {
            genes[n] = gene;
            counts[n] = (uint16_t)(1 + (next_random() % 15 << depth));
            n++;
        }
    }
    return n;
}

/* FNV-1a over the bytes of a word, the lowest first. */
static uint64_t digest(uint64_t sum, uint32_t word) {
    int n;
    for (n = 0; n < 4; n++) {
        sum = (sum ^ (word >> 8 * n & 0xFF)) * 0x100000001B3u;
    }
    return sum;
}

/* The number of a label, and its name. */
static void print_leaf(uint32_t leaf) {
    const char *name;
    size_t len;
    size_t n;
    print_number(leaf);
    board_print(" ");
    if (cic_leaf_name(&handle, leaf, &name, &len) == CIC_STATUS_OK) {
        for (n = 0; n < len; n++) {
            const char text[2] = { name[n], '\0' };
            board_print(text);
        }
    }
}

static void print_cell(uint32_t number, const cic_result *result) {
    board_print("cell ");
    print_number(number);
    board_print(" reject ");
    print_number(result->reject);
    if (result->n_top > 0) {
        board_print(" leaf ");
        print_leaf(result->top[0].leaf);
        board_print(" probability ");
        print_number(result->top[0].probability_q16);
    }
    board_print("\n");
}

/* What `cargo xtask count` counts between. */
__attribute__((noinline, used)) void bench_start(void) {
    __asm__ volatile("nop");
}

__attribute__((noinline, used)) void bench_end(void) {
    __asm__ volatile("nop\nnop");
}

static cic_status classify(size_t n, cic_result *result) {
    cic_status status;
    const cic_sample sample = {
        .struct_size = sizeof sample,
        .kind = CIC_SAMPLE_KIND_COUNTS16,
        .genes = genes,
        .values = counts,
        .n = n,
        .has_total = 1,
        .total_counts = 20000,
    };
    result->struct_size = sizeof *result;
    bench_start();
    status = cic_classify(&handle, 0, NULL, &sample, scratch, sizeof scratch, result);
    bench_end();
    return status;
}

static cic_status type_cells(uint32_t n_genes) {
    uint64_t sum = 0xCBF29CE484222325u;
    uint32_t n_named = 0;
    uint32_t number;
    for (number = 0; number < N_CELLS; number++) {
        cic_result result;
        uint32_t n;
        cic_status status = classify(random_cell(n_genes), &result);
        if (status != CIC_STATUS_OK) {
            return status;
        }
        if (number < N_LINES) {
            print_cell(number, &result);
        }
        n_named += result.reject == CIC_REJECT_NONE;
        sum = digest(sum, result.reject);
        for (n = 0; n < result.code_dim; n++) {
            sum = digest(sum, (uint32_t)result.code[n]);
        }
        for (n = 0; n < result.n_leaves; n++) {
            sum = digest(sum, (uint32_t)result.logits_q16[n]);
            sum = digest(sum, result.probabilities_q16[n]);
        }
    }
    board_print("# regions 1000 bounded classify\ncells 1000 named ");
    print_number(n_named);
    board_print(" digest ");
    print_bits(sum);
    board_print("\n");
    return CIC_STATUS_OK;
}

static cic_status run(void) {
    cic_info info;
    uint32_t n_run = 0;
    cic_status status;

    stack_paint();
    status = cic_open(model, model_len, &handle);
    board_print("# verifying_stack ");
    print_number(stack_depth());
    board_print("\n");
    if (status != CIC_STATUS_OK) {
        return status;
    }
    info.struct_size = sizeof info;
    status = cic_model_info(&handle, &info);
    if (status == CIC_STATUS_OK) {
        stack_paint();
        status = cic_self_test(&handle, scratch, sizeof scratch, &n_run);
        board_print("self-test ");
        print_number(n_run);
        board_print(" golden cells\n");
    }
    if (status == CIC_STATUS_OK) {
        status = type_cells(info.n_genes);
        board_print("# stack ");
        print_number(stack_depth());
        board_print("\n");
    }
    return status;
}

int main(void) {
    const cic_status status = run();
    if (status != CIC_STATUS_OK) {
        board_print(cic_status_text(status));
        board_print("\n");
    }
    return status;
}
