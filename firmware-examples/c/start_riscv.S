/* What happens on a RISC-V before main. Nothing has to be copied: a program here has no data with values of their
 * own. */
    .section .vectors, "ax"
    .global reset
reset:
    la sp, stack_top
#ifdef __riscv_flen
    /* The floating-point unit is off after reset. */
    li t0, 0x6000
    csrs mstatus, t0
#endif
    la t0, fault
    csrw mtvec, t0
    la t0, bss_begin
    la t1, bss_end
1:
    bgeu t0, t1, 2f
    sw zero, 0(t0)
    addi t0, t0, 4
    j 1b
2:
    call main
    seqz a0, a0
    call board_exit

/* These three instructions, uncompressed and in one line of memory, are what a debugger looks for. */
    .text
    .global semihosting
    .balign 16
semihosting:
    .option push
    .option norvc
    slli x0, x0, 0x1f
    ebreak
    srai x0, x0, 7
    .option pop
    ret

    .balign 4
fault:
    li a0, 0
    call board_exit
