//! Boots, prints, measures a stack depth known in advance, and counts a region.
#![no_std]
#![no_main]

use core::hint::black_box;

use firmware_examples::{Ending, count::region, entry, exit, println, stack};

/// Bytes that `deep` puts on the stack.
const KNOWN_DEPTH: u32 = 1024;

#[entry]
fn main() -> ! {
    println!("hello from cell identity codes");

    let sum: u32 = region("sum", || (1..=100u32).map(black_box).sum());
    println!("sum of 1..=100 = {sum}");

    let (last, used) = stack::measure(deep);
    println!("last of the array = {last}");
    println!("# stack {used}");
    let seen = (KNOWN_DEPTH..KNOWN_DEPTH + 256).contains(&used);
    println!("stack measurement sees a {KNOWN_DEPTH} byte array: {seen}");

    exit(if seen && sum == 5050 { Ending::Passed } else { Ending::Failed })
}

#[inline(never)]
fn deep() -> u8 {
    let array = black_box([7u8; KNOWN_DEPTH as usize]);
    array[array.len() - 1]
}
