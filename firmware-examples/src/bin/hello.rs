//! Boots, prints, measures a stack depth known in advance, and counts a region.
#![no_std]
#![no_main]

use core::hint::black_box;

use firmware_examples::{
    Outcome,
    count::{bench_end, bench_start},
    entry, exit, hprintln, stack,
};

/// Bytes that `deep` puts on the stack.
const KNOWN_DEPTH: u32 = 1024;

#[entry]
fn main() -> ! {
    hprintln!("hello from cell identity codes");

    bench_start();
    let sum: u32 = (1..=100u32).map(black_box).sum();
    bench_end();
    hprintln!("sum of 1..=100 = {}", sum);

    let (last, used) = stack::measure(deep);
    hprintln!("last of the array = {}", last);
    hprintln!("# stack {}", used);
    let seen = (KNOWN_DEPTH..KNOWN_DEPTH + 256).contains(&used);
    hprintln!("stack measurement sees a {} byte array: {}", KNOWN_DEPTH, seen);

    exit(if seen && sum == 5050 { Outcome::Passed } else { Outcome::Failed })
}

#[inline(never)]
fn deep() -> u8 {
    let array = black_box([7u8; KNOWN_DEPTH as usize]);
    array[array.len() - 1]
}
