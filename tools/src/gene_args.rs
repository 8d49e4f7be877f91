//! What training makes of the genes of a file: those that it has more than once, and their other
//! names.

use std::path::{Path, PathBuf};

use cic_data::{AliasTable, add_up_repeated_genes, read_alias_table, repeated_genes};
use cic_model::ValueKind;
use cic_model::genes::DuplicatePolicy;
use cic_model::spec::ModelSpec;
use cic_trainer::pipeline::data_digest;
use cic_trainer::settings::Setting;
use clap::Args;

use crate::console::tell;
use crate::dataset::Dataset;
use crate::failure::Failure;

/// How genes are told apart and named.
#[derive(Args, Clone, Debug)]
pub(crate) struct GeneArgs {
    /// Genes that stand in a file more than once: use the
    /// first of each, or their sum, or refuse the file;
    /// typing does the same [default: first]
    #[arg(
        long,
        value_name = "HOW",
        default_value = "first",
        hide_default_value = true,
        value_parser = parse_duplicates,
        verbatim_doc_comment
    )]
    duplicates: DuplicatePolicy,
    /// Table of other names of genes, of which the model
    /// takes those of its panel: HGNC's complete set,
    /// NCBI's gene_info, or the columns alias and symbol
    #[arg(long, value_name = "TSV", verbatim_doc_comment)]
    pub(crate) aliases: Option<PathBuf>,
}

/// What became of genes that stand more than once.
pub(crate) struct Resolved {
    policy: DuplicatePolicy,
    /// Of the file as it was read, where its values were added up.
    digest: Option<String>,
}

/// A table of other names, and where it came from.
pub(crate) struct Aliases<'a> {
    table: AliasTable,
    path: &'a Path,
}

impl GeneArgs {
    /// The table of other names, if one was named.
    pub(crate) fn read_aliases(&self) -> Result<Option<Aliases<'_>>, Failure> {
        let Some(path) = self.aliases.as_deref() else { return Ok(None) };
        Ok(Some(Aliases { table: read_alias_table(path)?, path }))
    }

    /// Makes of genes that the file has more than once what the policy says, as typing will.
    pub(crate) fn resolve_duplicates(
        &self,
        dataset: &mut Dataset,
        settings: &[Setting],
        quiet: bool,
    ) -> Result<Resolved, Failure> {
        let makes_ranks = |setting: &Setting| setting.name == "ranks" && setting.value == "true";
        let reads = match settings.iter().any(makes_ranks) {
            true => ValueKind::Ranks,
            false => dataset.kind,
        };
        let is_linear = matches!(reads, ValueKind::Counts | ValueKind::LinearNormalised);
        if self.duplicates == DuplicatePolicy::Sum && !is_linear {
            return Err(Failure::usage(format!(
                "--duplicates sum: the model would read {}, whose sums mean nothing; use first or refuse",
                reads.name()
            )));
        }
        let mut resolved = Resolved { policy: self.duplicates, digest: None };
        let repeated = repeated_genes(&dataset.matrix.genes);
        let Some(&(first, second)) = repeated.first() else { return Ok(resolved) };
        let genes = &dataset.matrix.genes;
        let what = match self.duplicates {
            DuplicatePolicy::Refuse => {
                return Err(Failure::input(format!(
                    "{}: {:?} and {:?} are one gene, the first of {} that stand in the file over again; \
                     remove them, or choose --duplicates first or sum",
                    dataset.matrix.source.path.display(),
                    genes[first].id,
                    genes[second].id,
                    repeated.len()
                )));
            }
            DuplicatePolicy::Sum => {
                resolved.digest = Some(data_digest(&dataset.matrix));
                add_up_repeated_genes(&mut dataset.matrix);
                "their values are added up"
            }
            DuplicatePolicy::KeepFirst => "the first of each is used",
        };
        if !quiet {
            tell(format_args!(
                "note: genes that stand in the file over again: {}; {what} (--duplicates)",
                repeated.len()
            ));
        }
        Ok(resolved)
    }
}

impl Resolved {
    /// Makes a trained model keep to the policy.
    pub(crate) fn apply(self, spec: &mut ModelSpec) {
        spec.panel.duplicates = self.policy;
        if let Some(digest) = self.digest {
            spec.provenance.insert("data.digest".into(), digest);
        }
    }
}

impl Aliases<'_> {
    /// Refuses a table that has none of the genes of a file, before anything is trained.
    pub(crate) fn check(&self, dataset: &Dataset) -> Result<(), Failure> {
        let genes = &dataset.matrix.genes;
        let names: Vec<(&str, &str)> =
            genes.iter().map(|gene| (gene.key(), gene.symbol.as_deref().unwrap_or(""))).collect();
        if self.table.of_panel(&names).n_unknown < names.len() {
            return Ok(());
        }
        Err(Failure::input(format!(
            "{}: has none of the genes of {}, which are named like {}: is it a table of their species?",
            self.path.display(),
            dataset.matrix.source.path.display(),
            genes.iter().take(3).map(|gene| gene.id.as_str()).collect::<Vec<_>>().join(", ")
        )))
    }

    /// Gives the genes of a panel the other names that the table has for them.
    pub(crate) fn apply(&self, spec: &mut ModelSpec, quiet: bool) {
        let genes = &mut spec.panel.genes;
        let names: Vec<(&str, &str)> =
            genes.iter().map(|gene| (gene.id.as_str(), gene.symbol.as_str())).collect();
        let found = self.table.of_panel(&names);
        if !quiet {
            tell(format_args!(
                "aliases: {} names of {} genes; left out: {} that stand for two genes, {} that are the \
                 symbol of another; {} of the {} genes are not in the table",
                found.n_names(),
                found.n_genes(),
                found.n_ambiguous,
                found.n_symbols,
                found.n_unknown,
                names.len(),
            ));
        }
        for (gene, names) in genes.iter_mut().zip(found.names) {
            gene.aliases = names;
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        spec.provenance.insert("panel.aliases".into(), name);
    }
}

fn parse_duplicates(text: &str) -> Result<DuplicatePolicy, String> {
    DuplicatePolicy::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = DuplicatePolicy::ALL.iter().map(|policy| policy.name()).collect();
        format!("expected one of {}", names.join(", "))
    })
}
