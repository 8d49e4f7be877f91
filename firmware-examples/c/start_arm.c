/* Vectors of a Cortex-M, and what happens before main. Nothing has to be copied: a program here has no data with
 * values of their own. */
#include <stdint.h>

#include "board.h"

extern uint32_t stack_top[], bss_begin[], bss_end[];

int main(void);

_Noreturn void reset(void) {
    uint32_t *at;
#if defined(__ARM_FP)
    /* The floating-point unit, which has the vectors of a Cortex-M55, is off after reset. */
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
    __asm__ volatile("dsb\nisb");
#endif
    for (at = bss_begin; at < bss_end; at++) {
        *at = 0;
    }
    board_exit(main() == 0);
}

static _Noreturn void fault(void) {
    board_print("fault\n");
    board_exit(0);
}

__attribute__((section(".vectors"), used)) static const uintptr_t vectors[16] = {
    (uintptr_t)stack_top, (uintptr_t)reset, (uintptr_t)fault, (uintptr_t)fault,
    (uintptr_t)fault,     (uintptr_t)fault, (uintptr_t)fault, (uintptr_t)fault,
};
