/*
 * What a program needs of a board: a console and an end, both over semihosting. start_arm.c and
 * start_riscv.S begin at main.
 */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* Prints text that ends with a zero byte. */
void board_print(const char *text);

/* Ends the program, well or not. */
_Noreturn void board_exit(int is_well);

/* Prints a number, in decimal digits. */
void print_number(int64_t number);

/* Prints 64 bits, in 16 hexadecimal digits. */
void print_bits(uint64_t bits);

/* Paints the free part of the stack. */
void stack_paint(void);

/* Bytes of the stack, below the caller, that were written since. */
uint32_t stack_depth(void);

#endif
