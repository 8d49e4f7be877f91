//! Of which species genes are, as far as their names show it.

use std::collections::BTreeMap;

use cic_model::genes::is_ensembl;

use crate::expression::Gene;
use crate::gene_naming::NameKind;

/// What the names of genes say about their species.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpeciesGuess {
    /// The species that it may be; empty where the names do not tell, several where they do not tell
    /// these apart (mouse or rat), or where genes of several are there.
    pub species: Vec<&'static str>,
    /// Whether genes of several species are there.
    pub is_mixed: bool,
    /// Why, in words.
    pub evidence: String,
}

impl SpeciesGuess {
    /// Of the genes of a file or of a panel.
    pub fn of(genes: &[Gene]) -> Self {
        let of_ids = Self::of_stable_ids(genes);
        of_ids.or_else(|| Self::of_genomes(genes)).unwrap_or_else(|| Self::of_symbols(genes))
    }

    /// Whether two lists of genes cannot be of one species.
    pub fn differs(&self, other: &Self) -> bool {
        let is_known = |guess: &Self| !guess.species.is_empty() && !guess.is_mixed;
        is_known(self)
            && is_known(other)
            && self.species.iter().all(|species| !other.species.contains(species))
    }

    /// `human`, `mouse or rat`, `human and mouse`, `unknown`.
    pub fn name(&self) -> String {
        match self.species[..] {
            [] => "unknown".into(),
            _ => self.species.join(if self.is_mixed { " and " } else { " or " }),
        }
    }

    /// By the letters of Ensembl ids, where a good part of the genes has one.
    fn of_stable_ids(genes: &[Gene]) -> Option<Self> {
        let mut found: BTreeMap<&str, usize> = BTreeMap::new();
        let ids = genes.iter().filter_map(|gene| gene.ensembl.as_deref());
        for prefix in ids.filter(|id| is_ensembl(id)).filter_map(letters_of_id) {
            *found.entry(prefix).or_default() += 1;
        }
        let n: usize = found.values().sum();
        if n == 0 || n * 10 < genes.len() {
            return None;
        }
        // A few ids of another species are spiked-in constructs, not a second species.
        let mut found: Vec<(&str, usize)> =
            found.into_iter().filter(|(_, count)| count * 100 >= n).collect();
        found.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let name = |&(prefix, _): &(&str, usize)| {
            let known = STABLE_IDS.iter().find(|(known, _)| *known == prefix);
            known.map_or("a species that is not known here", |(_, species)| *species)
        };
        let evidence = found.iter().map(|(prefix, count)| format!("{count} ids {prefix}"));
        let evidence = evidence.collect::<Vec<_>>().join(", ");
        let is_mixed = found.len() > 1;
        Some(Self { species: found.iter().map(name).collect(), is_mixed, evidence })
    }

    /// By names of genomes before the names of genes, as Cell Ranger writes them for mixed species.
    fn of_genomes(genes: &[Gene]) -> Option<Self> {
        let mut found: BTreeMap<&'static str, usize> = BTreeMap::new();
        for (genome, _) in genes.iter().filter_map(|gene| genome_prefix(&gene.id)) {
            *found.entry(genome).or_default() += 1;
        }
        let n: usize = found.values().sum();
        if n == 0 || n * 10 < genes.len() {
            return None;
        }
        let mut species = Vec::new();
        for (_, of) in GENOMES.iter().filter(|(genome, _)| found.contains_key(genome)) {
            if !species.contains(of) {
                species.push(*of);
            }
        }
        let evidence = found.iter().map(|(genome, count)| format!("{count} names {genome}_"));
        let evidence = evidence.collect::<Vec<_>>().join(", ");
        Some(Self { is_mixed: species.len() > 1, species, evidence })
    }

    /// By the capitals of symbols and of the mitochondrial genes among them.
    fn of_symbols(genes: &[Gene]) -> Self {
        let symbols = || genes.iter().filter_map(|gene| gene.symbol.as_deref());
        let mut styles = [0_usize; 4];
        for symbol in symbols().filter(|name| NameKind::of(name) == NameKind::Symbol) {
            if let Some(style) = Capitals::of(symbol) {
                styles[style as usize] += 1;
            }
        }
        let n: usize = styles.iter().sum();
        if n == 0 {
            let evidence = "names that say nothing about it".into();
            return Self { evidence, ..Self::default() };
        }
        let share = |style: Capitals| styles[style as usize] as f64 / n as f64;
        let Some((style, _, words)) =
            STYLES.into_iter().find(|&(style, least, _)| share(style) >= least)
        else {
            let evidence = "symbols in capitals, in small letters and capitalised".into();
            return Self { evidence, ..Self::default() };
        };
        let percent = (100.0 * share(style)).round();
        let mut evidence = format!("{percent} % of the symbols are {words}");
        // Names that somebody made up have capitals too.
        if !symbols().any(|symbol| KNOWN.iter().any(|known| symbol.eq_ignore_ascii_case(known))) {
            evidence += ", but no well-known gene (ACTB, CD3E, ...) is among them";
            return Self { evidence, ..Self::default() };
        }
        let n_starting = |prefix: &str| symbols().filter(|name| name.starts_with(prefix)).count();
        let mitochondrial = ["MT-", "mt-", "Mt-"].map(|prefix| (prefix, n_starting(prefix)));
        for (prefix, count) in mitochondrial.iter().filter(|(_, count)| *count > 0) {
            evidence += &format!(", {count} with {prefix}");
        }
        let is_rat = mitochondrial[2].1 > 0 || symbols().any(|name| name.starts_with("RGD1"));
        let is_mouse = symbols().any(|name| name.ends_with("Rik"));
        let species = match style {
            Capitals::All => vec!["human"],
            Capitals::First if is_mouse && !is_rat => vec!["mouse"],
            Capitals::First if is_rat && !is_mouse => vec!["rat"],
            Capitals::First => vec!["mouse", "rat"],
            // Of fish, or of anything whose capitals were lost.
            Capitals::None | Capitals::Other => Vec::new(),
        };
        Self { species, is_mixed: false, evidence }
    }
}

/// How a symbol is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Capitals {
    /// `CD3E`, `C1orf112`
    All = 0,
    /// `Cd3e`, `H2-Ab1`, `1700001C02Rik`, `mt-Nd1`
    First = 1,
    /// `cd3e`
    None = 2,
    Other = 3,
}

impl Capitals {
    /// `None` where a name has too few letters to tell.
    fn of(symbol: &str) -> Option<Self> {
        if let Some(("C", rest)) = symbol.split_at_checked(1)
            && rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == 'X').starts_with("orf")
        {
            return Some(Self::All);
        }
        if symbol.ends_with("Rik") || symbol.starts_with("mt-") && symbol.bytes().any(is_capital) {
            return Some(Self::First);
        }
        let letters: Vec<u8> = symbol.bytes().filter(u8::is_ascii_alphabetic).collect();
        match letters[..] {
            [] | [_] => None,
            _ if letters.iter().copied().all(is_capital) => Some(Self::All),
            _ if !letters.iter().copied().any(is_capital) => Some(Self::None),
            [first, ..] if is_capital(first) => Some(Self::First),
            _ => Some(Self::Other),
        }
    }
}

fn is_capital(letter: u8) -> bool {
    letter.is_ascii_uppercase()
}

/// `ENSMUSG` of a mouse gene's id.
fn letters_of_id(id: &str) -> Option<&str> {
    id.get(..id.bytes().take_while(u8::is_ascii_alphabetic).count())
}

/// The genome and the gene of a name such as `GRCh38_CD3E` or `mm10___Cd3e`.
pub fn genome_prefix(name: &str) -> Option<(&'static str, &str)> {
    GENOMES.iter().find_map(|(genome, _)| {
        let rest = name.strip_prefix(genome)?;
        let gene = rest.trim_start_matches('_');
        (gene.len() < rest.len() && !gene.is_empty()).then_some((*genome, gene))
    })
}

/// What share of the symbols must be written so, and in words. Names of clones (`AC149090.1`) are in
/// capitals whatever the species.
const STYLES: [(Capitals, f64, &str); 3] = [
    (Capitals::All, 0.9, "in capitals"),
    (Capitals::First, 0.7, "capitalised"),
    (Capitals::None, 0.7, "in small letters"),
];

/// Genes that whole transcriptomes and panels for tissues and blood nearly always have some of.
const KNOWN: [&str; 20] = [
    "ACTB", "GAPDH", "B2M", "EEF1A1", "RPLP0", "RPS6", "MALAT1", "TP53", "CD3E", "CD4", "CD8A",
    "PTPRC", "VIM", "EPCAM", "COL1A1", "PECAM1", "MKI67", "ACTA2", "KRT5", "CD14",
];

/// Letters of gene ids of Ensembl.
const STABLE_IDS: [(&str, &str); 18] = [
    ("ENSG", "human"),
    ("ENSMUSG", "mouse"),
    ("ENSRNOG", "rat"),
    ("ENSDARG", "zebrafish"),
    ("ENSSSCG", "pig"),
    ("ENSBTAG", "cow"),
    ("ENSOARG", "sheep"),
    ("ENSECAG", "horse"),
    ("ENSCAFG", "dog"),
    ("ENSFCAG", "cat"),
    ("ENSOCUG", "rabbit"),
    ("ENSGALG", "chicken"),
    ("ENSXETG", "frog"),
    ("ENSMMUG", "rhesus macaque"),
    ("ENSMFAG", "crab-eating macaque"),
    ("ENSPTRG", "chimpanzee"),
    ("ENSCJAG", "marmoset"),
    ("ENSCPOG", "guinea pig"),
];

/// Genomes as reference packages name them.
const GENOMES: [(&str, &str); 13] = [
    ("GRCh37", "human"),
    ("GRCh38", "human"),
    ("hg19", "human"),
    ("hg38", "human"),
    ("GRCm38", "mouse"),
    ("GRCm39", "mouse"),
    ("mm10", "mouse"),
    ("mm39", "mouse"),
    ("rn6", "rat"),
    ("rn7", "rat"),
    ("mRatBN7", "rat"),
    ("GRCz11", "zebrafish"),
    ("danRer11", "zebrafish"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(names: &[&str]) -> SpeciesGuess {
        let genes: Vec<Gene> = names.iter().map(|name| Gene::new(*name, None, None)).collect();
        SpeciesGuess::of(&genes)
    }

    #[test]
    fn ids_and_capitals_tell_the_species() {
        for (names, species) in [
            (&["ENSG00000141510", "ENSG00000198851.7"][..], "human"),
            (&["ENSMUSG00000059552"], "mouse"),
            (&["ENSRNOG00000000001", "Cd3e"], "rat"),
            (&["ENSDARG00000000001"], "zebrafish"),
            (&["ENSAMXG00000000001"], "a species that is not known here"),
            (&["CD3E", "HLA-A", "C1orf112", "RP11-34P13.7"], "human"),
            (&["Cd3e", "H2-Ab1", "Actb", "AC149090.1"], "mouse or rat"),
            (&["Cd3e", "1700001C02Rik", "Actb", "mt-Nd1"], "mouse"),
            (&["Cd3e", "Mt-nd1", "Actb"], "rat"),
            (&["cd3e", "actb", "mt-nd1"], "unknown"),
            (&["SIM00001", "SIM00002"], "unknown"),
            (&["CD3E", "Actb", "vim"], "unknown"),
            (&["1007_s_at", "1053_at"], "unknown"),
            (&["GRCh38_CD3E", "mm10___Cd3e"], "human and mouse"),
            (&["GRCh38_CD3E", "GRCh38_ACTB"], "human"),
        ] {
            assert_eq!(guess(names).name(), species, "{names:?}");
        }
        let human = guess(&["CD3E", "MT-ND1", "ACTB"]);
        assert_eq!(human.evidence, "100 % of the symbols are in capitals, 1 with MT-");
        assert!(guess(&["SIM00001"]).evidence.contains("no well-known gene"));
    }

    #[test]
    fn two_species_are_mixed_and_a_few_constructs_are_not() {
        let human = |n: usize| (0..n).map(|n| format!("ENSG{n:011}"));
        let mouse = |n: usize| (0..n).map(|n| format!("ENSMUSG{n:011}"));
        let guess = |names: Vec<String>| {
            let genes: Vec<Gene> =
                names.into_iter().map(|name| Gene::new(name, None, None)).collect();
            SpeciesGuess::of(&genes)
        };
        let mixed = guess(human(300).chain(mouse(200)).collect());
        assert_eq!((mixed.name().as_str(), mixed.is_mixed), ("human and mouse", true));
        assert_eq!(mixed.evidence, "300 ids ENSG, 200 ids ENSMUSG");
        assert_eq!(guess(human(300).chain(mouse(2)).collect()).name(), "human");
    }

    #[test]
    fn species_differ_only_where_both_are_known() {
        let [human, mouse, rodent, unknown] =
            [&["ENSG00000141510"][..], &["ENSMUSG00000059552"], &["Cd3e", "Actb"], &["SIM00001"]]
                .map(guess);
        assert!(human.differs(&mouse) && human.differs(&rodent));
        assert!(!mouse.differs(&rodent) && !human.differs(&unknown) && !human.differs(&human));
    }

    #[test]
    fn genomes_are_told_from_genes() {
        assert_eq!(genome_prefix("GRCh38_CD3E"), Some(("GRCh38", "CD3E")));
        assert_eq!(genome_prefix("mm10___Cd3e"), Some(("mm10", "Cd3e")));
        for name in ["mm10", "mm10_", "HG19A", "CD3E"] {
            assert_eq!(genome_prefix(name), None, "{name}");
        }
    }
}
