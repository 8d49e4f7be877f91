//! Whether a file has enough of a model's genes, and if not, why its names do not fit.

use std::collections::{HashMap, HashSet};

use cic_data::{Gene, GeneNaming, NameKind, Names, gene_name, genome_prefix};
use cic_model::genes::GeneName;
use cic_model::quant::{ONE_Q16, ONE_Q30};
use cic_model::{IdKind, Model, ValueKind};

use crate::failure::Failure;

/// Refuses a file that has too few of the model's genes.
pub(crate) fn check_coverage(
    names: Names<'_>,
    present: &[bool],
    model: &Model<'_>,
) -> Result<(), Failure> {
    let n_present = present.iter().filter(|&&present| present).count();
    let n_genes = model.n_genes();
    if model.rules().is_covered(n_present, n_genes) {
        return Ok(());
    }
    let path = names.path.display();
    let panel = model.genes();
    let is_gene =
        |name: &&String| panel.find(&GeneName { id: name, ensembl: None, symbol: None }).is_some();
    if names.obs.iter().filter(is_gene).count() > n_present {
        return Err(Failure::input(format!(
            "{path}: the cells are named like the model's genes: the table is transposed; swap \
             rows and columns (for a text table: --rows)"
        )));
    }
    let needed = (u64::from(model.rules().min_coverage_q16) * n_genes as u64)
        .div_ceil(u64::from(ONE_Q16))
        .max(1);
    let missing = Missing { names, present, n_present, needed, model };
    Err(Failure::input(format!(
        "{path}: has {n_present} of the model's {n_genes} genes, at least {needed} are needed; {}",
        missing.reason()
    )))
}

/// Refuses a file that lacks too many genes to tell what is no cell, where the model would.
pub(crate) fn check_judged(
    names: Names<'_>,
    share_q30: u32,
    model: &Model<'_>,
) -> Result<(), Failure> {
    match unjudged(model, share_q30) {
        None => Ok(()),
        Some(reason) => Err(Failure::input(format!(
            "{}: {reason}; give data with more of its genes or a model for this panel, or type it all the same with \
             --accept-unjudged",
            names.path.display()
        ))),
    }
}

/// Said where too many genes are missing to tell what is no cell.
pub(crate) fn unjudged(model: &Model<'_>, share_q30: u32) -> Option<String> {
    let novelty = model.novelty().filter(|novelty| !novelty.holds_for(share_q30))?;
    let percent = |share_q30: u32| 100.0 * f64::from(share_q30) / f64::from(ONE_Q30);
    Some(format!(
        "too many genes are missing to reject noise, doublets and cells unlike those of training: the genes that are \
         there had {:.1} % of the counts in training, {:.1} % are needed; what is no such cell would get a label",
        percent(share_q30),
        percent(novelty.least_share_q30())
    ))
}

/// What a model gives a label to, whatever the file is, though it is no cell.
pub(crate) struct Unknown {
    /// A note.
    pub(crate) note: &'static str,
    /// A few words, of the model.
    pub(crate) brief: &'static str,
}

/// What a model does not know; `None` where it knows all kinds of what is no cell.
pub(crate) fn unknown_impostors(model: &Model<'_>) -> Option<Unknown> {
    if model.novelty().is_none() {
        return Some(Unknown {
            note: "the model does not know what is unlike its training cells: noise, ambient RNA and doublets get a label too; one \
                   made with labelled cells knows (cic-quantize --labels KEY)",
            brief: "rejects no noise",
        });
    }
    let is_of_counts = model.profiles().iter().all(|profile| profile.kind() == ValueKind::Counts);
    (!is_of_counts).then_some(Unknown {
        note: "of what is no cell the model knows shuffled genes alone, and not always: ambient RNA and doublets are simulated of \
               counts, and it reads other values; they get a label",
        brief: "rejects no doublets and no ambient RNA",
    })
}

/// The genes of a model's panel, as those of a file.
pub(crate) fn panel_genes(model: &Model<'_>) -> Vec<Gene> {
    let panel = model.genes();
    let symbol = |gene| Some(panel.symbol(gene)).filter(|symbol| !symbol.is_empty());
    (0..model.n_genes()).map(|gene| Gene::new(panel.id(gene), symbol(gene), None)).collect()
}

/// Genes of the panel that would be found if capitals were ignored.
#[derive(Default)]
pub(crate) struct LostCase {
    pub(crate) n: usize,
    /// A name of the file and the model's for the same gene.
    pub(crate) example: Option<(String, String)>,
}

impl LostCase {
    pub(crate) fn of(names: Names<'_>, present: &[bool], model: &Model<'_>) -> Self {
        let panel = model.genes();
        let mut found = Self::default();
        if panel.id_kind() == IdKind::Opaque {
            return found;
        }
        let missing = (0..model.n_genes()).filter(|&gene| !present[gene]);
        let missing = missing.map(|gene| panel.display_name(gene));
        let mut missing: HashMap<String, &str> =
            missing.map(|name| (name.to_ascii_lowercase(), name)).collect();
        for gene in names.genes.iter().filter(|gene| panel.find(&gene_name(gene)).is_none()) {
            let name = gene.symbol.as_deref().unwrap_or(&gene.id);
            if let Some(ours) = missing.remove(&name.to_ascii_lowercase()) {
                found.n += 1;
                found.example.get_or_insert_with(|| (name.into(), ours.into()));
            }
        }
        found
    }

    /// Whether it is what keeps a file from a good part of the model's genes.
    pub(crate) fn matters(&self, model: &Model<'_>) -> bool {
        self.n * 20 >= model.n_genes()
    }

    /// What to tell, and what to do.
    pub(crate) fn advice(&self) -> String {
        let Some((theirs, ours)) = &self.example else { return String::new() };
        // Fish are written so, and so are names whose capitals a program took.
        let fish = match theirs.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => "",
            false => ", or map genes of fish to their orthologues",
        };
        format!(
            "{} more of its genes would be found if capitals did not matter ({theirs} for {ours}), but they \
             do: write the names as the model has them{fish}",
            self.n
        )
    }
}

/// A file that has too few genes.
struct Missing<'a> {
    names: Names<'a>,
    present: &'a [bool],
    n_present: usize,
    needed: u64,
    model: &'a Model<'a>,
}

impl Missing<'_> {
    /// Why, and what to do.
    fn reason(&self) -> String {
        let ours = panel_genes(self.model);
        let (theirs, ours) = (Naming::of(self.names.genes), Naming::of(&ours));
        self.genomes(&theirs)
            .or_else(|| other_species(&theirs, &ours))
            .or_else(|| no_common_kind(&theirs, &ours))
            .or_else(|| self.lost_case())
            .unwrap_or_else(|| match self.n_present {
                0..FEW_BY_CHANCE => format!(
                    "its genes are {}, the model's {}: check species and names",
                    theirs.words(),
                    ours.words()
                ),
                _ => self.too_few(),
            })
    }

    /// Names of genomes before those of the genes.
    fn genomes(&self, theirs: &Naming<'_>) -> Option<String> {
        let genomes = &theirs.naming.genomes;
        let is_most = genomes.values().sum::<usize>() * 2 > theirs.naming.n;
        let example = theirs.genes.iter().find(|gene| genome_prefix(&gene.id).is_some());
        let (gene, (_, name)) = example.and_then(|gene| Some((gene, genome_prefix(&gene.id)?)))?;
        let which = match genomes.len() {
            1 => "write the genes",
            _ => "write the genes and cells of one species to a file of their own,",
        };
        let genomes: Vec<&str> = genomes.keys().copied().collect();
        is_most.then(|| {
            format!(
                "its genes have the name of a genome before theirs ({}): {which} without it, {} as {name}",
                genomes.join(", "),
                gene.id
            )
        })
    }

    fn lost_case(&self) -> Option<String> {
        let lost = LostCase::of(self.names, self.present, self.model);
        let is_it = lost.n > 2 * self.n_present && lost.matters(self.model);
        (is_it || (self.n_present + lost.n) as u64 >= self.needed.max(1) && lost.n > 0)
            .then(|| lost.advice())
    }

    /// The names fit, and the file is small.
    fn too_few(&self) -> String {
        let n_genes = self.model.n_genes();
        let panel = self.model.genes();
        let missing = (0..n_genes).filter(|&gene| !self.present[gene]).take(3);
        let missing: Vec<&str> = missing.map(|gene| panel.display_name(gene)).collect();
        // Rounded up, so that the file is within the limit.
        let dropout = (100.0 * (1.0 - self.n_present as f64 / n_genes as f64)).ceil() / 100.0;
        let train = match dropout <= MOST_GENE_DROPOUT {
            true => format!(
                ", or train a model for small panels (cic train --set gene_dropout={dropout})"
            ),
            false => ", or train a model on these genes".to_owned(),
        };
        format!(
            "names fit, but {}, ... are not among the {} genes of the file: give it with all \
             that were measured{train}",
            missing.join(", "),
            self.names.genes.len()
        )
    }
}

/// Genes and how they are named.
struct Naming<'a> {
    genes: &'a [Gene],
    naming: GeneNaming,
}

impl<'a> Naming<'a> {
    fn of(genes: &'a [Gene]) -> Self {
        Self { genes, naming: GeneNaming::of(genes) }
    }

    /// Whether a good part of the genes has names of this kind, as id or beside it.
    fn has(&self, kind: NameKind) -> bool {
        let beside = match kind {
            NameKind::Ensembl => self.naming.n_ensembl_beside,
            NameKind::Symbol => self.naming.n_symbols_beside,
            _ => 0,
        };
        let count = |kind| self.naming.ids.get(&kind).copied().unwrap_or(0);
        let versioned =
            if kind == NameKind::Ensembl { count(NameKind::VersionedEnsembl) } else { 0 };
        (count(kind) + versioned + beside) * 2 > self.naming.n
    }

    /// `symbols like CD3E, CD4, CD8A`.
    fn words(&self) -> String {
        let kind = self.naming.id_kind().map_or("named in several ways", NameKind::words);
        let ids = self.naming.examples.iter().take(3).map(String::as_str);
        let symbol =
            self.genes.iter().find_map(|gene| gene.symbol.as_ref().filter(|s| **s != gene.id));
        let beside = match symbol.filter(|_| self.naming.n_symbols_beside * 2 > self.naming.n) {
            Some(symbol) => format!(" (and symbols like {symbol})"),
            None => String::new(),
        };
        format!("{kind} like {}{beside}", ids.collect::<Vec<_>>().join(", "))
    }

    /// A name that shows the species: the symbol where there is one.
    fn example(&self) -> &str {
        let gene = self.genes.iter().find(|gene| gene.symbol.is_some()).or(self.genes.first());
        gene.map_or("", |gene| gene.symbol.as_deref().unwrap_or(&gene.id))
    }
}

fn other_species(theirs: &Naming<'_>, ours: &Naming<'_>) -> Option<String> {
    let (species, own) = (&theirs.naming.species, &ours.naming.species);
    species.differs(own).then(|| {
        format!(
            "its genes look like {} (as {}: {}), the model's like {} ({}): map them to their orthologues \
             first, or use a model of {}",
            species.name(),
            theirs.example(),
            species.evidence,
            own.name(),
            ours.example(),
            species.name()
        )
    })
}

/// Names that nothing but a table can turn into each other.
fn no_common_kind(theirs: &Naming<'_>, ours: &Naming<'_>) -> Option<String> {
    let kinds = [NameKind::Ensembl, NameKind::Symbol];
    let known: HashSet<NameKind> = kinds.into_iter().filter(|kind| ours.has(*kind)).collect();
    if known.is_empty() || kinds.iter().any(|kind| theirs.has(*kind) && known.contains(kind)) {
        return None;
    }
    let wanted = kinds.into_iter().filter(|kind| known.contains(kind)).map(NameKind::words);
    Some(format!(
        "its genes are {}, the model's {}: give the file {} (AnnData: as names or in a column of var, \
         gene_ids or gene_symbols)",
        theirs.words(),
        ours.words(),
        wanted.collect::<Vec<_>>().join(" or ")
    ))
}

/// So many genes may have the same name though the species or the kind of id is another.
const FEW_BY_CHANCE: usize = 5;

/// With more of its genes missing, a model has too little to learn from.
const MOST_GENE_DROPOUT: f64 = 0.95;

/// Share of the library that the genes of `present`, `[n_genes]`, had in training, Q30, as alignment sums it: those of all
/// genes sum to 2³⁰.
pub(crate) fn library_share_q30(model: &Model<'_>, present: &[bool]) -> u32 {
    let shares = model.genes().library_share_q30().iter().zip(present);
    shares.filter(|(_, is_present)| **is_present).map(|(share, _)| share).sum()
}
