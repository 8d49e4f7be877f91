/* See board.h. */
#include "board.h"

#include <stddef.h>

enum { PAINT = 0x5A5A5A5A, MARGIN = 64 };

/* Where link.ld has the stack begin, at its lowest address. */
extern uint32_t stack_end[];

/* Semihosting, see "Semihosting for AArch32 and AArch64", and the same for RISC-V. */
enum { SYS_OPEN = 0x01, SYS_WRITE = 0x05, SYS_EXIT = 0x18, STOPPED = 0x20026, FAILED = 0x20023 };

#if defined(__arm__)
static uintptr_t call(uintptr_t operation, uintptr_t argument) {
    register uintptr_t r0 __asm__("r0") = operation;
    register uintptr_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
#else
/* In start_riscv.S. */
uintptr_t semihosting(uintptr_t operation, uintptr_t argument);

static uintptr_t call(uintptr_t operation, uintptr_t argument) {
    return semihosting(operation, argument);
}
#endif

void board_print(const char *text) {
    static uintptr_t console;
    const uintptr_t opening[3] = { (uintptr_t)":tt", 4, 3 };
    uintptr_t writing[3];
    size_t len = 0;
    while (text[len] != '\0') {
        len++;
    }
    if (console == 0) {
        console = call(SYS_OPEN, (uintptr_t)opening);
    }
    writing[0] = console;
    writing[1] = (uintptr_t)text;
    writing[2] = len;
    call(SYS_WRITE, (uintptr_t)writing);
}

_Noreturn void board_exit(int is_well) {
    call(SYS_EXIT, is_well ? STOPPED : FAILED);
    for (;;) {
    }
}

void print_number(int64_t number) {
    char text[24];
    char *at = text + sizeof text - 1;
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
    *at = '\0';
    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0) {
        *--at = '-';
    }
    board_print(at);
}

void print_bits(uint64_t bits) {
    char text[17];
    int n;
    for (n = 0; n < 16; n++) {
        text[n] = "0123456789abcdef"[bits >> (60 - 4 * n) & 15];
    }
    text[16] = '\0';
    board_print(text);
}

static uint32_t *stack_pointer(void) {
    uint32_t *pointer;
#if defined(__arm__)
    __asm__ volatile("mov %0, sp" : "=r"(pointer));
#else
    __asm__ volatile("mv %0, sp" : "=r"(pointer));
#endif
    return pointer;
}

void stack_paint(void) {
    volatile uint32_t *at;
    for (at = stack_end; at < stack_pointer() - MARGIN / 4; at++) {
        *at = PAINT;
    }
}

uint32_t stack_depth(void) {
    volatile uint32_t *at = stack_end;
    uint32_t *top = stack_pointer();
    while (at < top && *at == PAINT) {
        at++;
    }
    return (uint32_t)((uintptr_t)top - (uintptr_t)at);
}
