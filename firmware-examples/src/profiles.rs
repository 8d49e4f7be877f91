//! Samples made from numbers, the same on the host and on every board.

use cic_runtime::Sample;

/// Random profiles one after the other: sparse and dense ones, and some that no model accepts.
pub struct RandomProfiles {
    random: Random,
    number: u32,
}

impl RandomProfiles {
    /// From the first.
    pub fn new() -> Self {
        Self { random: Random::new(), number: 0 }
    }

    /// The next profile, in `memory` of two words for each gene.
    ///
    /// Of 16 in a row, one is empty, one has too few counts, one too few genes, three are dense with a
    /// quarter of the genes above zero, and the others list a quarter or a 16th of them.
    pub fn next<'m>(&mut self, n_genes: usize, memory: &'m mut [u32]) -> Sample<'m> {
        let (genes, counts) = memory.split_at_mut(n_genes.min(memory.len()));
        let number = self.number;
        self.number += 1;
        match number % 16 {
            0 => sparse(genes, counts, 0),
            1 => self.few(genes, counts, n_genes, 1),
            2 => self.few(genes, counts, n_genes, 1_000),
            3..6 => self.dense(counts, n_genes),
            6..11 => self.listed(genes, counts, n_genes, 4),
            _ => self.listed(genes, counts, n_genes, 16),
        }
    }

    /// Three genes, or fewer in a panel of fewer, with the same count each.
    fn few<'m>(
        &mut self,
        genes: &'m mut [u32],
        counts: &'m mut [u32],
        n_genes: usize,
        count: u32,
    ) -> Sample<'m> {
        let step = (n_genes / 3).max(1);
        let first = self.random.next() as usize % step;
        let chosen = (0_u32..).take(n_genes).skip(first).step_by(step).take(3);
        let mut len = 0;
        for ((gene, to_gene), to_count) in chosen.zip(&mut *genes).zip(&mut *counts) {
            (*to_gene, *to_count) = (gene, count);
            len += 1;
        }
        sparse(genes, counts, len)
    }

    fn dense<'m>(&mut self, counts: &'m mut [u32], n_genes: usize) -> Sample<'m> {
        let depth = self.number % 12;
        let counts = counts.get_mut(..n_genes).unwrap_or_default();
        for count in &mut *counts {
            *count = if self.random.next().is_multiple_of(4) { self.count(depth) } else { 0 };
        }
        Sample::DenseCounts { counts, total: Some(counts.iter().sum()) }
    }

    /// About one gene in `rarity` is above zero.
    fn listed<'m>(
        &mut self,
        genes: &'m mut [u32],
        counts: &'m mut [u32],
        n_genes: usize,
        rarity: u32,
    ) -> Sample<'m> {
        let depth = self.number % 12;
        let mut len = 0;
        for gene in (0_u32..).take(n_genes) {
            if !self.random.next().is_multiple_of(rarity) {
                continue;
            }
            let count = self.count(depth);
            if let (Some(to_gene), Some(to_count)) = (genes.get_mut(len), counts.get_mut(len)) {
                (*to_gene, *to_count) = (gene, count);
                len += 1;
            }
        }
        sparse(genes, counts, len)
    }

    /// Geometric, and deeper by a factor of up to 2¹¹, so that all input levels occur.
    fn count(&mut self, depth: u32) -> u32 {
        (1 + self.random.next().trailing_zeros()) << depth
    }
}

/// Every gene above zero.
pub fn full(n_genes: usize, memory: &mut [u32]) -> Sample<'_> {
    let counts = memory.get_mut(..n_genes).unwrap_or_default();
    for (gene, count) in (0_u32..).zip(&mut *counts) {
        *count = 1 + gene * 7 % 40;
    }
    Sample::DenseCounts { counts, total: None }
}

/// `n_listed` genes above zero, evenly over the panel; `memory` has two words for each gene.
pub fn even(n_genes: usize, n_listed: usize, memory: &mut [u32]) -> Sample<'_> {
    let (genes, counts) = memory.split_at_mut(n_genes.min(memory.len()));
    let step = (n_genes / n_listed.max(1)).max(1) as u32;
    let entries = genes.iter_mut().zip(&mut *counts).take(n_listed);
    for (number, (gene, count)) in (0_u32..).zip(entries) {
        (*gene, *count) = (number * step + number * 5 % step, 1 + number * 7 % 40);
    }
    sparse(genes, counts, n_listed)
}

fn sparse<'m>(genes: &'m [u32], counts: &'m [u32], len: usize) -> Sample<'m> {
    let genes = genes.get(..len).unwrap_or(&[]);
    let counts = counts.get(..len).unwrap_or(&[]);
    // At most a quarter of 2¹⁶ genes, of 2¹² on average at the most.
    Sample::Counts { genes, counts, total: Some(counts.iter().sum()) }
}

/// Panel indices, as many as there are places, in increasing order.
pub fn chosen(n_genes: usize, random: &mut Random, genes: &mut [u32]) {
    let mut wanted = genes.len() as u32;
    let mut places = genes.iter_mut();
    for gene in 0..n_genes as u32 {
        // Each gene with the share of the places that are left among the genes that are left.
        if random.next() % (n_genes as u32 - gene) < wanted
            && let Some(place) = places.next()
        {
            *place = gene;
            wanted -= 1;
        }
    }
}

/// Marsaglia's xorshift with 32 bits of state.
pub struct Random(u32);

impl Random {
    /// From the beginning.
    pub fn new() -> Self {
        Self(2_463_534_242)
    }

    /// The next number.
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}
