/*
 * QEMU plugin: instructions, loads and stores that the guest executes between two addresses.
 *
 *   -plugin libinsncount.so,start=ADDRESS,end=ADDRESS
 *
 * Each time execution reaches `end` after `start`, one line goes to standard error:
 *
 *   insncount instructions=N loads=N stores=N
 *
 * Counting begins with the instruction at `start` and stops before the one at `end`, so that a
 * call of two empty markers around nothing counts the first marker's own instructions and the
 * branch to the second.
 *
 * Only the part of QEMU's plugin interface (API version 1) that is used is declared here, because
 * distributions do not ship its header. Memory accesses are counted in a callback, not inline:
 * QEMU 7.2 counts reads and writes together there.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
typedef uint32_t mem_info;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info; /* opaque: nothing of it is read */

enum { CB_NO_REGS = 0, MEM_READ_WRITE = 3, INLINE_ADD_U64 = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_insn_exec_cb(
    struct qemu_plugin_insn *, void (*)(unsigned, void *), int flags, void *);
void qemu_plugin_register_vcpu_insn_exec_inline(
    struct qemu_plugin_insn *, int op, void *counter, uint64_t immediate);
void qemu_plugin_register_vcpu_mem_cb(
    struct qemu_plugin_insn *, void (*)(unsigned, mem_info, uint64_t, void *), int flags, int rw,
    void *);
bool qemu_plugin_mem_is_store(mem_info);

EXPORT int qemu_plugin_version = 1;

struct counts {
    uint64_t instructions, loads, stores;
};

static struct counts now;   /* since the guest's start */
static struct counts start; /* at the region's start */
static bool in_region;
static uint64_t start_address, end_address;

static void enter_region(unsigned cpu, void *unused)
{
    (void)cpu, (void)unused;
    start = now;
    in_region = true;
}

static void leave_region(unsigned cpu, void *unused)
{
    (void)cpu, (void)unused;
    if (!in_region)
        return;
    in_region = false;
    fprintf(stderr, "insncount instructions=%" PRIu64 " loads=%" PRIu64 " stores=%" PRIu64 "\n",
        now.instructions - start.instructions, now.loads - start.loads,
        now.stores - start.stores);
}

static void access_memory(unsigned cpu, mem_info info, uint64_t address, void *unused)
{
    (void)cpu, (void)address, (void)unused;
    if (qemu_plugin_mem_is_store(info))
        now.stores++;
    else
        now.loads++;
}

/* QEMU runs the callbacks of an instruction before its inline operations: a region opens and closes
 * before the instruction at its limit is counted. */
static void translate_block(plugin_id id, struct qemu_plugin_tb *block)
{
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(block, i);
        uint64_t address = qemu_plugin_insn_vaddr(insn);
        if (address == start_address)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, enter_region, CB_NO_REGS, NULL);
        if (address == end_address)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, leave_region, CB_NO_REGS, NULL);
        qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, &now.instructions, 1);
        qemu_plugin_register_vcpu_mem_cb(insn, access_memory, CB_NO_REGS, MEM_READ_WRITE, NULL);
    }
}

/* Arm marks Thumb functions in bit 0 of the symbol; instructions are at even addresses. */
static bool parse_address(const char *argument, const char *name, uint64_t *address)
{
    size_t length = strlen(name);
    if (strncmp(argument, name, length) != 0 || argument[length] != '=')
        return false;
    char *rest;
    *address = strtoull(argument + length + 1, &rest, 16) & ~UINT64_C(1);
    return *rest == '\0' && rest != argument + length + 1;
}

EXPORT int qemu_plugin_install(
    plugin_id id, const struct qemu_info *info, int argc, char **argv)
{
    (void)info;
    bool has_start = false, has_end = false;
    for (int i = 0; i < argc; i++) {
        has_start |= parse_address(argv[i], "start", &start_address);
        has_end |= parse_address(argv[i], "end", &end_address);
    }
    if (argc != 2 || !has_start || !has_end) {
        fprintf(stderr, "insncount: expected start=ADDRESS,end=ADDRESS\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate_block);
    return 0;
}
