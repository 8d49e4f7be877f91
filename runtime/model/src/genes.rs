//! The gene panel: which genes a model reads, in which order, and how the genes of a file find
//! their place in it.
//!
//! Names match exactly, capitals included. Of a gene of a file the Ensembl id decides where both
//! sides have one, without its version; else its symbol or id, as an id or a symbol of the panel.
//! Only what none of these finds is looked for among the panel's other names (aliases), and an
//! alias never takes the place of a gene that the file has under its own name.

use core::fmt;

use crate::container::{Container, SectionKind};
use crate::error::ModelError;
use crate::quant::ONE_Q30;
use crate::strings::StringTable;
use crate::vocabulary::IdKind;

/// What happens when two genes of a file are the same gene of the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum DuplicatePolicy {
    /// The file is refused.
    Refuse = 1,
    /// Their values are added.
    Sum = 2,
    /// All but the first are ignored.
    KeepFirst = 3,
}

impl DuplicatePolicy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Refuse, Self::Sum, Self::KeepFirst];

    /// The name used on command lines and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Sum => "sum",
            Self::KeepFirst => "first",
        }
    }

    /// The policy with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }

    fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| *policy as u32 == code)
    }
}

/// A gene of a file, as far as the file names it.
#[derive(Clone, Copy, Debug, Default)]
pub struct GeneName<'a> {
    /// The identifier of the row or column: Ensembl id, symbol or anything else.
    pub id: &'a str,
    /// Ensembl id, with or without version, where the file gives one beside `id`.
    pub ensembl: Option<&'a str>,
    /// Symbol, where the file gives one beside `id`.
    pub symbol: Option<&'a str>,
}

/// By which of its names a gene was found in a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchedBy {
    /// The Ensembl id, without version.
    Ensembl,
    /// The id or the symbol of the panel.
    Name,
    /// Another name that the model knows for the gene.
    Alias,
}

/// In an alignment: the gene is not in the panel.
pub const NOT_IN_PANEL: u32 = u32::MAX;

/// What an alignment found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overlap {
    /// Genes of the panel that the file has.
    pub n_present: u32,
    /// Of these, found by their Ensembl id.
    pub n_by_ensembl: u32,
    /// Of these, found by another name that the model knows.
    pub n_by_alias: u32,
    /// Genes of the file that were another of the file's genes over again.
    pub n_duplicates: u32,
    /// Share of the library that the present genes had in training, Q30.
    pub share_q30: u32,
}

/// Why genes could not be aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlignError {
    /// Two genes of the file are the same gene of the panel, and the model refuses that.
    Duplicate {
        /// Index in the panel.
        gene: u32,
        /// Position in the file of the second.
        position: usize,
    },
    /// A buffer of the caller is shorter than the genes of the file or of the panel.
    BufferTooShort,
}

impl fmt::Display for AlignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Duplicate { gene, position } => {
                write!(
                    f,
                    "gene {position} of the input is gene {gene} of the panel for the second time"
                )
            }
            Self::BufferTooShort => write!(f, "buffer is shorter than the list of genes"),
        }
    }
}

impl core::error::Error for AlignError {}

/// View of the panel.
#[derive(Clone, Copy, Debug)]
pub struct GenePanel<'a> {
    id_kind: IdKind,
    duplicates: DuplicatePolicy,
    library_share_q30: &'a [u32],
    id_order: &'a [u32],
    symbol_order: &'a [u32],
    alias_gene: &'a [u32],
    ids: StringTable<'a>,
    symbols: StringTable<'a>,
    aliases: StringTable<'a>,
}

impl<'a> GenePanel<'a> {
    pub(crate) fn parse(container: &Container<'a>, n_genes: usize) -> Result<Self, ModelError> {
        let mut reader = container.require(SectionKind::Genes, 0)?;
        let id_kind = IdKind::from_code(reader.u32()?).ok_or_else(|| reader.bad("id kind"))?;
        let duplicates = DuplicatePolicy::from_code(reader.u32()?)
            .ok_or_else(|| reader.bad("duplicate policy"))?;
        if reader.u32()? as usize != n_genes {
            return Err(reader.bad("number of genes"));
        }
        let n_aliases = reader.u32()? as usize;
        let panel = Self {
            id_kind,
            duplicates,
            library_share_q30: reader.array(n_genes)?,
            id_order: reader.array(n_genes)?,
            symbol_order: reader.array(n_genes)?,
            alias_gene: reader.array(n_aliases)?,
            ids: StringTable::parse(&mut reader)?,
            symbols: StringTable::parse(&mut reader)?,
            aliases: StringTable::parse(&mut reader)?,
        };
        let share: u64 = panel.library_share_q30.iter().map(|&share| u64::from(share)).sum();
        if share != u64::from(ONE_Q30) {
            return Err(reader.bad("library share: the shares must sum to one"));
        }
        if !panel.ids.is_order(panel.id_order) || !panel.symbols.is_order(panel.symbol_order) {
            return Err(reader.bad("order of names"));
        }
        let is_repeated = |pair: &[u32]| match *pair {
            [a, b] => panel.id(a as usize) == panel.id(b as usize),
            _ => false,
        };
        if panel.id_order.windows(2).any(is_repeated) {
            return Err(reader.bad("gene id: it stands twice"));
        }
        let aliases_are_sound = panel.aliases.len() == n_aliases
            && panel.alias_gene.iter().all(|&gene| (gene as usize) < n_genes)
            && (1..n_aliases).all(|i| panel.aliases.at(i - 1) < panel.aliases.at(i));
        if !aliases_are_sound {
            return Err(reader.bad("aliases"));
        }
        reader.finish()?;
        Ok(panel)
    }

    /// Number of genes.
    #[inline]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Never true for a model that was opened.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// What the ids are.
    pub fn id_kind(&self) -> IdKind {
        self.id_kind
    }

    /// What happens to duplicates.
    pub fn duplicates(&self) -> DuplicatePolicy {
        self.duplicates
    }

    /// Id of a gene: unversioned Ensembl id where there is one.
    pub fn id(&self, gene: usize) -> &'a str {
        self.ids.at(gene)
    }

    /// Symbol of a gene, empty where unknown.
    pub fn symbol(&self, gene: usize) -> &'a str {
        self.symbols.at(gene)
    }

    /// The symbol, or the id where there is none.
    pub fn display_name(&self, gene: usize) -> &'a str {
        match self.symbol(gene) {
            "" => self.id(gene),
            symbol => symbol,
        }
    }

    /// Other names and the genes they stand for, sorted by name.
    pub fn aliases(&self) -> impl Iterator<Item = (&'a str, u32)> + use<'a> {
        self.aliases.iter().zip(self.alias_gene.iter().copied())
    }

    /// Share of the panel's library that each gene had in training, Q30; sums to one.
    pub fn library_share_q30(&self) -> &'a [u32] {
        self.library_share_q30
    }

    /// The panel gene that a gene of a file is, whatever else is in the file. Opaque panels match ids
    /// only.
    pub fn find(&self, name: &GeneName<'_>) -> Option<u32> {
        self.find_match(name).map(|(gene, _)| gene)
    }

    /// The same, and by which of its names it was found.
    pub fn find_match(&self, name: &GeneName<'_>) -> Option<(u32, MatchedBy)> {
        if self.id_kind == IdKind::Opaque {
            let gene = self.ids.find_sorted(self.id_order, name.id);
            return gene.map(|gene| (gene, MatchedBy::Name));
        }
        let ensembl = name
            .ensembl
            .into_iter()
            .chain([name.id])
            .chain(name.symbol)
            .find(|id| is_ensembl(id))
            .map(strip_version);
        if let Some(gene) = ensembl.and_then(|id| self.ids.find_sorted(self.id_order, id)) {
            return Some((gene, MatchedBy::Ensembl));
        }
        // A symbol may not overrule two Ensembl ids that differ.
        let agrees = |gene: &u32| ensembl.is_none() || !is_ensembl(self.id(*gene as usize));
        let keys = [name.symbol.unwrap_or(""), name.id];
        let keys = || keys.into_iter().filter(|key| !key.is_empty() && !is_ensembl(key));
        let own = keys().find_map(|key| self.find_by_own_name(key).filter(agrees));
        let alias = || keys().find_map(|key| self.find_by_alias(key).filter(agrees));
        own.map(|gene| (gene, MatchedBy::Name))
            .or_else(|| alias().map(|gene| (gene, MatchedBy::Alias)))
    }

    /// Finds the place of every gene of a file. `map` (at least as many entries as `names`)
    /// receives the index in the panel or [`NOT_IN_PANEL`]; `present` (`[n_genes]`) tells which
    /// genes of the panel the file has. A gene that only an alias finds is not in the panel where
    /// another gene of the file, wherever it stands, has the gene's own name.
    pub fn align_into<'n>(
        &self,
        names: impl Iterator<Item = GeneName<'n>>,
        map: &mut [u32],
        present: &mut [bool],
    ) -> Result<Overlap, AlignError> {
        let present = present.get_mut(..self.len()).ok_or(AlignError::BufferTooShort)?;
        present.fill(false);
        let mut placing = Placing { panel: self, present, overlap: Overlap::default() };
        let mut n_names = 0;
        for (position, name) in names.enumerate() {
            let place = map.get_mut(position).ok_or(AlignError::BufferTooShort)?;
            *place = match self.find_match(&name) {
                None => NOT_IN_PANEL,
                Some((gene, MatchedBy::Alias)) => gene | BY_ALIAS,
                Some((gene, by)) => placing.place(gene, by, position)?,
            };
            n_names = position + 1;
        }
        let map = map.get_mut(..n_names).unwrap_or(&mut []);
        let is_alias = |place: u32| place != NOT_IN_PANEL && place & BY_ALIAS != 0;
        // Who has a gene's own name comes first; only then may aliases of one gene meet each other.
        for place in map.iter_mut().filter(|place| is_alias(**place)) {
            if placing.is_present(*place & !BY_ALIAS) {
                *place = NOT_IN_PANEL;
            }
        }
        for (position, place) in map.iter_mut().enumerate().filter(|(_, place)| is_alias(**place)) {
            *place = placing.place(*place & !BY_ALIAS, MatchedBy::Alias, position)?;
        }
        Ok(placing.overlap)
    }

    fn find_by_own_name(&self, key: &str) -> Option<u32> {
        self.ids
            .find_sorted(self.id_order, key)
            .or_else(|| self.symbols.find_sorted(self.symbol_order, key))
    }

    fn find_by_alias(&self, key: &str) -> Option<u32> {
        let at = self.alias_gene.len().min(self.alias_position(key));
        self.alias_gene.get(at).copied().filter(|_| self.aliases.at(at) == key)
    }

    /// Number of aliases that sort before `key`.
    fn alias_position(&self, key: &str) -> usize {
        let (mut low, mut high) = (0, self.aliases.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.aliases.at(middle) < key { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// In an alignment under way: this index was found by an alias. Ids are unique and all of them have
/// less than 2³² bytes, so that no index of a gene comes near this bit.
const BY_ALIAS: u32 = 1 << 31;

/// An alignment under way.
struct Placing<'p, 'a> {
    panel: &'p GenePanel<'a>,
    /// `[n_genes]`
    present: &'p mut [bool],
    overlap: Overlap,
}

impl Placing<'_, '_> {
    fn is_present(&self, gene: u32) -> bool {
        self.present.get(gene as usize).copied().unwrap_or(false)
    }

    /// The place of a gene of the file that is `gene` of the panel, by the panel's policy.
    fn place(&mut self, gene: u32, by: MatchedBy, position: usize) -> Result<u32, AlignError> {
        let Some(seen) = self.present.get_mut(gene as usize) else { return Ok(NOT_IN_PANEL) };
        if *seen {
            self.overlap.n_duplicates += 1;
            return match self.panel.duplicates {
                DuplicatePolicy::Refuse => Err(AlignError::Duplicate { gene, position }),
                DuplicatePolicy::Sum => Ok(gene),
                DuplicatePolicy::KeepFirst => Ok(NOT_IN_PANEL),
            };
        }
        *seen = true;
        let overlap = &mut self.overlap;
        overlap.n_present += 1;
        overlap.n_by_ensembl += u32::from(by == MatchedBy::Ensembl);
        overlap.n_by_alias += u32::from(by == MatchedBy::Alias);
        // The shares of all genes sum to 2³⁰.
        overlap.share_q30 += self.panel.library_share_q30.get(gene as usize).copied().unwrap_or(0);
        Ok(gene)
    }
}

/// Whether a name has the form of an Ensembl stable id: `ENS`, letters, digits, and perhaps a
/// version.
pub fn is_ensembl(name: &str) -> bool {
    let stem = strip_version(name);
    stem.len() >= 11
        && stem.starts_with("ENS")
        && stem.bytes().rev().take(7).all(|byte| byte.is_ascii_digit())
        && stem.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// An Ensembl id without its version; other names unchanged.
pub fn strip_version(name: &str) -> &str {
    match name.split_once('.') {
        Some((stem, version))
            if name.starts_with("ENS") && version.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            stem
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_stripped_from_ensembl_ids_only() {
        assert_eq!(strip_version("ENSG00000139618.15"), "ENSG00000139618");
        assert_eq!(strip_version("AL627309.1"), "AL627309.1");
        assert_eq!(strip_version("ENSA.b"), "ENSA.b");
        assert!(is_ensembl("ENSMUSG00000000001.4"));
        assert!(is_ensembl("ENSG00000139618"));
        assert!(!is_ensembl("ENSA"));
        assert!(!is_ensembl("CD3E"));
    }
}
