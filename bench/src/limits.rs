//! What this processor can do at most: byte products, single precision, reading memory.

use std::fmt::Write as _;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use cic_runtime::kernels::Isa;

/// The limits, as JSON. `threads` is how many threads the rates are also measured with.
///
/// Rates are the best of many short windows, as a busy machine only ever takes away.
pub fn to_json() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut json = format!("{{\n  \"isa\": \"{}\",\n  \"cores\": {cores},\n", Isa::best().name());
    json.push_str("  \"multiply_adds_per_second\": {\n");
    let rates: Vec<String> = kernels()
        .iter()
        .map(|kernel| {
            let rate = |n| rate(kernel, n).map_or("null".into(), |rate| format!("{rate:.4e}"));
            format!("    \"{}\": {{\"1\": {}, \"2\": {}}}", kernel.name, rate(1), rate(2))
        })
        .collect();
    let _ = write!(json, "{}\n  }},\n  \"bytes_read_per_second\": [\n", rates.join(",\n"));
    let reads: Vec<String> = SIZES
        .iter()
        .map(|&bytes| {
            let rate = |n| read_rate(bytes, n).map_or("null".into(), |r| format!("{r:.4e}"));
            let level = level(bytes);
            let (one, two) = (rate(1), rate(2));
            format!(
                "    {{\"bytes\": {bytes}, \"level\": \"{level}\", \"1\": {one}, \"2\": {two}}}"
            )
        })
        .collect();
    let _ = write!(json, "{}\n  ]\n}}\n", reads.join(",\n"));
    json
}

/// A loop of one instruction, or of those that make one step of a sum.
struct Kernel {
    name: &'static str,
    /// Multiplications with addition in one turn of the loop.
    per_turn: u64,
    run: fn(u64),
}

/// Bytes that are read over and over, per thread.
const SIZES: [usize; 9] =
    [16 << 10, 128 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20, 10 << 20, 64 << 20, 256 << 20];

const WINDOWS: usize = 60;

fn rate(kernel: &Kernel, threads: usize) -> Option<f64> {
    const TURNS: u64 = 20_000;
    let time = best_time(threads, WINDOWS, &|_| (kernel.run)(TURNS))?;
    Some((TURNS * kernel.per_turn) as f64 * threads as f64 / time.as_secs_f64())
}

fn read_rate(bytes: usize, threads: usize) -> Option<f64> {
    if threads > cores() {
        return None;
    }
    let memory: Vec<Vec<u64>> = (0..threads as u64).map(|n| vec![n + 1; bytes / 8 + 8]).collect();
    let times = ((4 << 20) / bytes).max(1);
    let windows = if bytes > 32 << 20 { 7 } else { WINDOWS };
    let time = best_time(threads, windows, &|thread| {
        for _ in 0..times {
            read(&memory[thread]);
        }
    })?;
    Some((bytes * times * threads) as f64 / time.as_secs_f64())
}

/// Shortest time in which all threads did their work, begun together; `None` with fewer cores.
fn best_time(threads: usize, windows: usize, work: &(dyn Fn(usize) + Sync)) -> Option<Duration> {
    if threads > cores() {
        return None;
    }
    let barrier = Barrier::new(threads);
    let measure = |thread: usize| -> Vec<Duration> {
        work(thread);
        let window = |_| {
            barrier.wait();
            let start = Instant::now();
            work(thread);
            start.elapsed()
        };
        (0..windows).map(window).collect()
    };
    let times: Vec<Vec<Duration>> = thread::scope(|scope| {
        let measure = &measure;
        let handles: Vec<_> =
            (1..threads).map(|thread| scope.spawn(move || measure(thread))).collect();
        let own = measure(0);
        let others = handles.into_iter().filter_map(|handle| handle.join().ok());
        std::iter::once(own).chain(others).collect()
    });
    (0..windows).filter_map(|at| times.iter().map(|times| times[at]).max()).min()
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The nearest memory that so many bytes fit in, of those that Linux tells of.
fn level(bytes: usize) -> &'static str {
    const LEVELS: [(&str, &str); 3] = [("index0", "L1"), ("index2", "L2"), ("index3", "L3")];
    for (index, level) in LEVELS {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/{index}/size");
        let size = std::fs::read_to_string(path).unwrap_or_default();
        let kilobytes = size.trim().strip_suffix('K').and_then(|size| size.parse().ok());
        if kilobytes.is_some_and(|kilobytes: usize| bytes <= kilobytes << 10) {
            return level;
        }
    }
    "DRAM"
}

#[cfg(not(target_arch = "x86_64"))]
fn kernels() -> Vec<Kernel> {
    Vec::new()
}

#[cfg(not(target_arch = "x86_64"))]
fn read(memory: &[u64]) {
    std::hint::black_box(memory.iter().fold(0, |all, &word| all ^ word));
}

#[cfg(target_arch = "x86_64")]
use x86::{kernels, read};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;

    use super::{Isa, Kernel};

    /// What this processor has, each with its condition checked here.
    pub(super) fn kernels() -> Vec<Kernel> {
        let mut kernels = Vec::new();
        let mut add = |has: bool, name, per_turn, run| {
            if has {
                kernels.push(Kernel { name, per_turn, run });
            }
        };
        let has_512 = is_x86_feature_detected!("avx512f");
        let has_fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        add(Isa::Amx.is_available(), "tdpbusd tiles", 6 * 16 * 16 * 64, tdpbusd_tiles);
        let has_vnni = Isa::Avx512Vnni.is_available();
        add(has_vnni, "vpdpbusd zmm", 12 * 64, vpdpbusd_zmm);
        add(has_vnni, "vpdpbusd ymm", 12 * 32, vpdpbusd_ymm);
        add(Isa::AvxVnni.is_available(), "vpdpbusd vex ymm", 12 * 32, vpdpbusd_vex_ymm);
        add(has_fma, "vpmaddubsw vpmaddwd vpaddd ymm", 12 * 32, vpmaddubsw_ymm);
        add(has_512, "vfmadd231ps zmm", 12 * 16, vfmadd231ps_zmm);
        add(has_fma, "vfmadd231ps ymm", 12 * 8, vfmadd231ps_ymm);
        kernels
    }

    /// Reads it in the widest registers, from the first whole line of the nearest memory.
    pub(super) fn read(memory: &[u64]) {
        let start = memory.as_ptr().align_offset(64).min(memory.len());
        let memory = &memory[start..];
        let turns = memory.len() / 64;
        if turns == 0 {
            return;
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: 512 bytes in each of `turns` turns are those of the slice; the processor has
            // AVX-512.
            unsafe { read_zmm(memory.as_ptr(), turns) }
        } else if is_x86_feature_detected!("avx2") {
            // SAFETY: 512 bytes in each of `turns` turns are those of the slice; the processor has
            // AVX2.
            unsafe { read_ymm(memory.as_ptr(), turns) }
        } else {
            std::hint::black_box(memory.iter().fold(0, |all, &word| all ^ word));
        }
    }

    /// Twelve independent sums, registers 0 to 11, in a loop that nothing else is in. Every line ends in
    /// the sum's register, as an operand or, after `#`, as a comment. `vzeroall` first makes all operands
    /// zero: a denormal would slow floats down.
    macro_rules! twelve_sums {
        ($name:ident, $before:literal, $register:literal, $after:literal) => {
            fn $name(turns: u64) {
                // SAFETY: registers only, all of them declared; `kernels` lists the loop only where
                // the processor has its instructions.
                unsafe {
                    asm!(
                        "vzeroall",
                        ".p2align 6",
                        "2:",
                        concat!($before, $register, "0", $after, $register, "0"),
                        concat!($before, $register, "1", $after, $register, "1"),
                        concat!($before, $register, "2", $after, $register, "2"),
                        concat!($before, $register, "3", $after, $register, "3"),
                        concat!($before, $register, "4", $after, $register, "4"),
                        concat!($before, $register, "5", $after, $register, "5"),
                        concat!($before, $register, "6", $after, $register, "6"),
                        concat!($before, $register, "7", $after, $register, "7"),
                        concat!($before, $register, "8", $after, $register, "8"),
                        concat!($before, $register, "9", $after, $register, "9"),
                        concat!($before, $register, "10", $after, $register, "10"),
                        concat!($before, $register, "11", $after, $register, "11"),
                        "dec {turns}",
                        "jnz 2b",
                        "vzeroupper",
                        turns = inout(reg) turns.max(1) => _,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                        out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                        out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                        out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                        options(nostack, nomem),
                    );
                }
            }
        };
    }

    twelve_sums!(vpdpbusd_zmm, "vpdpbusd ", "zmm", ", zmm14, zmm15 #");
    twelve_sums!(vpdpbusd_ymm, "{{evex}} vpdpbusd ", "ymm", ", ymm14, ymm15 #");
    twelve_sums!(vpdpbusd_vex_ymm, "{{vex}} vpdpbusd ", "ymm", ", ymm14, ymm15 #");
    twelve_sums!(vfmadd231ps_zmm, "vfmadd231ps ", "zmm", ", zmm14, zmm15 #");
    twelve_sums!(vfmadd231ps_ymm, "vfmadd231ps ", "ymm", ", ymm14, ymm15 #");
    twelve_sums!(
        vpmaddubsw_ymm,
        "vpmaddubsw ymm13, ymm14, ymm15\nvpmaddwd ymm13, ymm13, ymm12\nvpaddd ",
        "ymm",
        ", ymm13, "
    );

    /// Six tiles of sums, one of levels, one of weights.
    fn tdpbusd_tiles(turns: u64) {
        let mut shape = [0_u8; 64];
        shape[0] = 1;
        for tile in 0..8 {
            shape[16 + 2 * tile] = 64;
            shape[48 + tile] = 16;
        }
        // SAFETY: the shape is 64 readable bytes, of eight tiles of 16 rows of 64 bytes; `kernels`
        // lists the loop only where the tiles may be used, and the compiler never uses them.
        unsafe {
            asm!(
                "ldtilecfg [{shape}]",
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                "tilezero tmm4", "tilezero tmm5", "tilezero tmm6", "tilezero tmm7",
                ".p2align 6",
                "2:",
                "tdpbusd tmm0, tmm6, tmm7",
                "tdpbusd tmm1, tmm6, tmm7",
                "tdpbusd tmm2, tmm6, tmm7",
                "tdpbusd tmm3, tmm6, tmm7",
                "tdpbusd tmm4, tmm6, tmm7",
                "tdpbusd tmm5, tmm6, tmm7",
                "dec {turns}",
                "jnz 2b",
                "tilerelease",
                shape = in(reg) shape.as_ptr(),
                turns = inout(reg) turns.max(1) => _,
                options(nostack, readonly),
            );
        }
    }

    macro_rules! reader {
        ($name:ident, $instruction:literal, $register:literal, $bytes:literal) => {
            /// # Safety
            /// `turns` times 512 bytes are readable at `from`, `turns` is not 0, and the processor has the
            /// registers.
            unsafe fn $name(from: *const u64, turns: usize) {
                // SAFETY: each turn reads the next 512 bytes; all registers are declared.
                unsafe {
                    asm!(
                        ".p2align 6",
                        "2:",
                        concat!($instruction, " ", $register, "0, ", $register, "0, [{from}]"),
                        concat!($instruction, " ", $register, "1, ", $register, "1, [{from} + ", $bytes, "]"),
                        concat!($instruction, " ", $register, "2, ", $register, "2, [{from} + 2*", $bytes, "]"),
                        concat!($instruction, " ", $register, "3, ", $register, "3, [{from} + 3*", $bytes, "]"),
                        concat!($instruction, " ", $register, "4, ", $register, "4, [{from} + 4*", $bytes, "]"),
                        concat!($instruction, " ", $register, "5, ", $register, "5, [{from} + 5*", $bytes, "]"),
                        concat!($instruction, " ", $register, "6, ", $register, "6, [{from} + 6*", $bytes, "]"),
                        concat!($instruction, " ", $register, "7, ", $register, "7, [{from} + 7*", $bytes, "]"),
                        concat!("add {from}, 8*", $bytes),
                        "dec {turns}",
                        "jnz 2b",
                        "vzeroupper",
                        from = inout(reg) from => _,
                        turns = inout(reg) turns * (512 / 8 / $bytes) => _,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                        out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                        options(nostack, readonly),
                    );
                }
            }
        };
    }

    reader!(read_zmm, "vporq", "zmm", 64);
    reader!(read_ymm, "vpor", "ymm", 32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_takes_longer_for_more_turns() {
        for kernel in kernels() {
            let time = |turns| {
                let work = |_| (kernel.run)(turns);
                best_time(1, 5, &work).expect("one core")
            };
            assert!(time(100_000) > time(1_000), "{}", kernel.name);
        }
    }

    #[test]
    fn reads_faster_than_nothing() {
        assert!(read_rate(16 << 10, 1).expect("one core") > 1e8);
    }
}
