//! How the genes of a file are named: which kind of names, of which species, which stand twice,
//! which a spreadsheet spoilt, and which are no genes at all.

use std::collections::{BTreeMap, HashMap};

use crate::control_features::control_feature;
use crate::expression::{Gene, is_ensembl_gene_id};
use crate::mangled_symbols::MangledSymbol;
use crate::species::{SpeciesGuess, genome_prefix};

/// What one name looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NameKind {
    /// `ENSG00000141510`
    Ensembl,
    /// `ENSG00000141510.18`
    VersionedEnsembl,
    /// `TP53`, `Trp53`, `RP11-34P13.7`
    Symbol,
    /// `NM_000546`
    RefSeq,
    /// `201746_at`, `ILMN_1779356`
    Probe,
    /// `7157`: of NCBI's Gene, or nothing but the number of a column.
    Number,
    /// Anything else.
    Other,
}

impl NameKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Ensembl,
        Self::VersionedEnsembl,
        Self::Symbol,
        Self::RefSeq,
        Self::Probe,
        Self::Number,
        Self::Other,
    ];

    /// The kind of a name by its form alone.
    pub fn of(name: &str) -> Self {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        match name {
            _ if is_ensembl_gene_id(name) && name.contains('.') => Self::VersionedEnsembl,
            _ if is_ensembl_gene_id(name) => Self::Ensembl,
            _ if begins(&["NM_", "NR_", "XM_", "XR_"]) => Self::RefSeq,
            _ if name.ends_with("_at") || begins(&["ILMN_", "A_23_P", "A_24_P", "A_33_P"]) => {
                Self::Probe
            }
            _ if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) => Self::Number,
            _ if is_symbol(name) => Self::Symbol,
            _ => Self::Other,
        }
    }

    /// The name used in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ensembl => "ensembl",
            Self::VersionedEnsembl => "versioned_ensembl",
            Self::Symbol => "symbol",
            Self::RefSeq => "refseq",
            Self::Probe => "probe",
            Self::Number => "number",
            Self::Other => "other",
        }
    }

    /// For messages, as a plural.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Ensembl => "Ensembl ids",
            Self::VersionedEnsembl => "Ensembl ids with versions",
            Self::Symbol => "symbols",
            Self::RefSeq => "RefSeq accessions",
            Self::Probe => "probes of a microarray",
            Self::Number => "numbers",
            Self::Other => "names of no known form",
        }
    }
}

/// Names of some of the genes, and how many they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How many.
    pub n: usize,
    /// The first few.
    pub examples: Vec<String>,
}

impl Found {
    fn add(&mut self, name: impl FnOnce() -> String) {
        self.n += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(name());
        }
    }
}

/// So many names are kept as examples.
const EXAMPLES: usize = 5;

/// How the genes of a file are named.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GeneNaming {
    /// Number of genes.
    pub n: usize,
    /// How many ids are of each kind, those of [`NameKind::ALL`] that occur.
    pub ids: BTreeMap<NameKind, usize>,
    /// The first few ids of the commonest kind.
    pub examples: Vec<String>,
    /// Genes of which the file gives a symbol beside another id.
    pub n_symbols_beside: usize,
    /// Genes of which it gives an Ensembl id beside another id.
    pub n_ensembl_beside: usize,
    /// The species.
    pub species: SpeciesGuess,
    /// Names of genomes before those of genes.
    pub genomes: BTreeMap<&'static str, usize>,
    /// Genes that have the [key](Gene::key) of one before them.
    pub repeated: Found,
    /// Genes that have the symbol of one before them and another key.
    pub repeated_symbols: Found,
    /// Names that a spreadsheet made of symbols.
    pub mangled: Found,
    /// The first of these that shows what it may have been: name and symbols.
    pub mangled_example: Option<(String, String)>,
    /// Features that are no genes, by what they are.
    pub controls: BTreeMap<&'static str, Found>,
}

impl GeneNaming {
    /// Of the genes of a file.
    pub fn of(genes: &[Gene]) -> Self {
        let mut naming =
            Self { n: genes.len(), species: SpeciesGuess::of(genes), ..Self::default() };
        for gene in genes {
            *naming.ids.entry(NameKind::of(&gene.id)).or_default() += 1;
            let has_symbol = gene.symbol.as_ref().is_some_and(|symbol| *symbol != gene.id);
            naming.n_symbols_beside += usize::from(has_symbol);
            let has_ensembl = gene.ensembl.as_ref().is_some_and(|id| *id != gene.id);
            naming.n_ensembl_beside += usize::from(has_ensembl);
            if let Some((genome, _)) = genome_prefix(&gene.id) {
                *naming.genomes.entry(genome).or_default() += 1;
            }
            let names = || [Some(&gene.id), gene.symbol.as_ref()].into_iter().flatten();
            if let Some(what) = names().find_map(|name| control_feature(name)) {
                naming.controls.entry(what).or_default().add(|| gene.id.clone());
            }
        }
        let commonest = naming.ids.iter().max_by_key(|&(_, n)| *n).map(|(kind, _)| *kind);
        let is_common = |gene: &&Gene| Some(NameKind::of(&gene.id)) == commonest;
        let examples = genes.iter().filter(is_common).take(EXAMPLES);
        naming.examples = examples.map(|gene| gene.id.clone()).collect();
        naming.find_repeated(genes);
        naming.find_mangled(genes);
        naming
    }

    /// The kind of nine of ten ids; `None` where they are mixed. Whether Ensembl ids have versions
    /// makes no difference.
    pub fn id_kind(&self) -> Option<NameKind> {
        let count = |kind| self.ids.get(&kind).copied().unwrap_or(0);
        let versioned = count(NameKind::VersionedEnsembl);
        let ensembl = count(NameKind::Ensembl) + versioned;
        let is_most = |n: usize| n * 10 >= self.n * 9 && n > 0;
        if is_most(ensembl) {
            let is_versioned = 2 * versioned > ensembl;
            return Some(if is_versioned { NameKind::VersionedEnsembl } else { NameKind::Ensembl });
        }
        NameKind::ALL.into_iter().find(|&kind| is_most(count(kind)))
    }

    fn find_repeated(&mut self, genes: &[Gene]) {
        let mut keys = HashMap::with_capacity(genes.len());
        let mut symbols = HashMap::with_capacity(genes.len());
        for gene in genes {
            if keys.insert(gene.key(), ()).is_some() {
                self.repeated.add(|| gene.id.clone());
            } else if let Some(symbol) = gene.symbol.as_deref()
                && symbols.insert(symbol, ()).is_some()
            {
                self.repeated_symbols.add(|| symbol.to_owned());
            }
        }
    }

    fn find_mangled(&mut self, genes: &[Gene]) {
        // Where all names are numbers, those of days are numbers like the others.
        let n_numbers = self.ids.get(&NameKind::Number).copied().unwrap_or(0);
        let has_day_numbers = n_numbers * 20 < self.n;
        for gene in genes {
            let names = || [gene.symbol.as_deref(), Some(&*gene.id)].into_iter().flatten();
            let of = |name: &str| {
                let days = has_day_numbers.then(|| MangledSymbol::of_day_number(name)).flatten();
                MangledSymbol::of(name).or(days)
            };
            let Some((name, mangled)) = names().find_map(|name| Some((name, of(name)?))) else {
                continue;
            };
            self.mangled.add(|| name.to_owned());
            let symbols = mangled.may_have_been();
            if self.mangled_example.is_none() && !symbols.is_empty() {
                self.mangled_example = Some((name.to_owned(), symbols));
            }
        }
    }
}

/// Words of letters, digits and the marks that symbols have. A symbol has a letter.
fn is_symbol(name: &str) -> bool {
    (1..=30).contains(&name.len())
        && name.bytes().any(|byte| byte.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_@/():".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(names: &[&str]) -> GeneNaming {
        let genes: Vec<Gene> = names.iter().map(|name| Gene::new(*name, None, None)).collect();
        GeneNaming::of(&genes)
    }

    #[test]
    fn the_form_of_a_name_tells_its_kind() {
        for (name, kind) in [
            ("ENSG00000141510", NameKind::Ensembl),
            ("ENSMUSG00000059552.14", NameKind::VersionedEnsembl),
            ("TP53", NameKind::Symbol),
            ("HLA-DRB1", NameKind::Symbol),
            ("1700001C02Rik", NameKind::Symbol),
            ("NM_000546", NameKind::RefSeq),
            ("201746_at", NameKind::Probe),
            ("ILMN_1779356", NameKind::Probe),
            ("7157", NameKind::Number),
            ("", NameKind::Other),
            ("chr1:10-20 (open)", NameKind::Other),
        ] {
            assert_eq!(NameKind::of(name), kind, "{name}");
        }
    }

    #[test]
    fn nine_of_ten_ids_give_the_file_its_kind() {
        let ids: Vec<String> = (0..9).map(|n| format!("ENSG{n:011}.{n}")).collect();
        let mut names: Vec<&str> = ids.iter().map(String::as_str).collect();
        names.push("TP53");
        assert_eq!(naming(&names).id_kind(), Some(NameKind::VersionedEnsembl));
        assert_eq!(naming(&["CD3E", "1_at", "2_at"]).examples, ["1_at", "2_at"]);
        names.push("CD3E");
        assert_eq!(naming(&names).id_kind(), None);
        assert_eq!(naming(&[]).id_kind(), None);
    }

    #[test]
    fn repeated_names_are_counted_apart_from_repeated_symbols() {
        let genes = [
            Gene::new("ENSG00000000001.1", Some("A"), None),
            Gene::new("ENSG00000000001.2", Some("A"), None),
            Gene::new("ENSG00000000002", Some("A"), None),
            Gene::new("ENSG00000000003", Some("B"), None),
        ];
        let naming = GeneNaming::of(&genes);
        assert_eq!((naming.repeated.n, naming.repeated_symbols.n), (1, 1));
        assert_eq!(naming.repeated.examples, ["ENSG00000000001.2"]);
        assert_eq!(naming.n_symbols_beside, 4);
    }

    #[test]
    fn mangled_names_are_found_among_symbols_and_not_among_numbers() {
        let mut names: Vec<String> = (0..40).map(|n| format!("GENE{n}")).collect();
        names.extend(["1-Mar", "43891", "2.31E+13"].map(String::from));
        let refs: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = naming(&refs);
        assert_eq!(found.mangled.examples, ["1-Mar", "43891", "2.31E+13"]);
        assert_eq!(found.mangled_example, Some(("1-Mar".into(), "MARCHF1 or MTARC1".into())));
        assert_eq!(naming(&["7157", "43891", "672"]).mangled.n, 0);
    }

    #[test]
    fn controls_are_counted_by_what_they_are() {
        let naming = naming(&["CD3E", "BLANK_0001", "BLANK_0002", "ERCC-00002"]);
        let counts: Vec<_> = naming.controls.iter().map(|(what, found)| (*what, found.n)).collect();
        assert_eq!(counts, [("ERCC spike-ins", 1), ("blank codes", 2)]);
    }
}
