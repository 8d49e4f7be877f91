//! Tables of other names of genes: HGNC's complete set, NCBI's `gene_info`, or two columns.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use cic_model::genes::{is_ensembl, strip_version};

use crate::delimited::{Records, text};
use crate::error::DataError;

/// Genes and their other names, of a whole genome or a part of one.
#[derive(Clone, Debug, Default)]
pub struct AliasTable {
    genes: Vec<TableGene>,
    by_symbol: HashMap<String, usize>,
    by_ensembl: HashMap<String, usize>,
    by_alias: HashMap<String, AliasOf>,
}

/// One gene of a table.
#[derive(Clone, Debug)]
struct TableGene {
    symbol: String,
    aliases: Vec<String>,
}

/// Whose name an alias is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AliasOf {
    One(usize),
    Several,
}

/// Other names of the genes of a panel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PanelAliases {
    /// `[n_genes]`: names that stand for this gene and no other.
    pub names: Vec<Vec<String>>,
    /// Genes of the panel that the table does not have.
    pub n_unknown: usize,
    /// Names left out because they stand for two genes.
    pub n_ambiguous: usize,
    /// Names left out because they are the symbol of another gene.
    pub n_symbols: usize,
}

impl PanelAliases {
    /// Names that were kept.
    pub fn n_names(&self) -> usize {
        self.names.iter().map(Vec::len).sum()
    }

    /// Genes that have one.
    pub fn n_genes(&self) -> usize {
        self.names.iter().filter(|names| !names.is_empty()).count()
    }
}

/// Reads a table of other names: tab- or comma-separated, compressed or not. Its header decides:
/// `symbol` with `alias_symbol` and `prev_symbol` (HGNC's complete set), `Symbol` with `Synonyms`
/// (NCBI's `gene_info`), or `symbol` with `alias`; names are divided by `|`. Ensembl ids
/// (`ensembl_gene_id`, or among `dbXrefs`) are used where they are there.
///
/// # Errors
/// Whatever cannot be read, a header without these columns, rows of another length.
pub fn read_alias_table(path: &Path) -> Result<AliasTable, DataError> {
    let mut records = Records::open(path)?;
    let header = records.next_record()?.cloned().unwrap_or_default();
    let header: Vec<String> =
        header.iter().map(|field| text(path, 1, field)).collect::<Result<_, _>>()?;
    let columns = Columns::of(&header).ok_or_else(|| DataError::Table {
        path: path.to_path_buf(),
        line: 1,
        reason: format!(
            "expected the columns symbol and alias_symbol or prev_symbol (HGNC's complete set), Symbol \
             and Synonyms (NCBI's gene_info), or alias and symbol; found {}",
            header.iter().take(8).cloned().collect::<Vec<_>>().join(", ")
        ),
    })?;
    let mut table = AliasTable::default();
    while let Some(record) = records.next_record()?.cloned() {
        let line = records.line();
        if record.len() != header.len() {
            return Err(records.wrong_length(header.len(), record.len()));
        }
        let field = |column: usize| text(path, line, &record[column]);
        let symbol = field(columns.symbol)?;
        let gene = table.gene(symbol.trim());
        for &column in &columns.aliases {
            for alias in field(column)?.split('|') {
                table.add_alias(gene, alias.trim());
            }
        }
        for &column in &columns.ensembl {
            for id in field(column)?.split('|') {
                table.add_ensembl(gene, id.strip_prefix("Ensembl:").unwrap_or(id).trim());
            }
        }
    }
    match table.by_alias.is_empty() {
        true => Err(DataError::Empty { path: path.to_path_buf(), expected: "a name per gene" }),
        false => Ok(table),
    }
}

impl AliasTable {
    /// What the table knows of the genes of a panel, given as ids and symbols (empty where there is
    /// none). A gene is looked for by its Ensembl id, its symbol, and last by its symbol as the other
    /// name of one gene: a panel with an old symbol gets the new one.
    pub fn of_panel(&self, panel: &[(&str, &str)]) -> PanelAliases {
        let own: HashSet<&str> = panel.iter().flat_map(|&(id, symbol)| [id, symbol]).collect();
        let known: Vec<Option<usize>> =
            panel.iter().map(|&(id, symbol)| self.find(id, symbol, &own)).collect();
        let mut claims: HashMap<usize, usize> = HashMap::new();
        for gene in known.iter().flatten() {
            *claims.entry(*gene).or_default() += 1;
        }
        let mut found = PanelAliases::default();
        for (gene, &(id, symbol)) in known.iter().zip(panel) {
            let mut names = Vec::new();
            let Some(gene) = *gene else {
                found.n_unknown += 1;
                found.names.push(names);
                continue;
            };
            let entry = &self.genes[gene];
            for name in std::iter::once(&entry.symbol).chain(&entry.aliases) {
                let is_alias = *name != entry.symbol;
                let is_symbol = is_alias && self.by_symbol.contains_key(name);
                let is_shared = is_alias && self.by_alias.get(name) == Some(&AliasOf::Several);
                match () {
                    () if name == id || name == symbol => {}
                    () if is_symbol || own.contains(name.as_str()) => found.n_symbols += 1,
                    () if is_shared || claims[&gene] > 1 => found.n_ambiguous += 1,
                    () => names.push(name.clone()),
                }
            }
            found.names.push(names);
        }
        found
    }

    /// The gene of the table that a gene of a panel is.
    fn find(&self, id: &str, symbol: &str, own: &HashSet<&str>) -> Option<usize> {
        let names = || [symbol, id].into_iter().filter(|name| !name.is_empty());
        let by_alias = |name| match self.by_alias.get(name) {
            // Unless the panel has the gene itself too.
            Some(&AliasOf::One(gene)) if !own.contains(self.genes[gene].symbol.as_str()) => {
                Some(gene)
            }
            _ => None,
        };
        self.by_ensembl
            .get(strip_version(id))
            .or_else(|| names().find_map(|name| self.by_symbol.get(name)))
            .copied()
            .or_else(|| names().find_map(by_alias))
    }

    fn gene(&mut self, symbol: &str) -> usize {
        *self.by_symbol.entry(symbol.to_owned()).or_insert_with(|| {
            self.genes.push(TableGene { symbol: symbol.to_owned(), aliases: Vec::new() });
            self.genes.len() - 1
        })
    }

    fn add_alias(&mut self, gene: usize, alias: &str) {
        // NCBI writes "-" where there is none.
        if matches!(alias, "" | "-") || alias == self.genes[gene].symbol {
            return;
        }
        match self.by_alias.get_mut(alias) {
            Some(AliasOf::One(other)) if *other == gene => return,
            Some(of) => *of = AliasOf::Several,
            None => {
                self.by_alias.insert(alias.to_owned(), AliasOf::One(gene));
            }
        }
        self.genes[gene].aliases.push(alias.to_owned());
    }

    fn add_ensembl(&mut self, gene: usize, id: &str) {
        if is_ensembl(id) {
            self.by_ensembl.entry(strip_version(id).to_owned()).or_insert(gene);
        }
    }
}

/// Where a table has what.
struct Columns {
    symbol: usize,
    aliases: Vec<usize>,
    ensembl: Vec<usize>,
}

impl Columns {
    fn of(header: &[String]) -> Option<Self> {
        let find = |names: &[&str]| -> Vec<usize> {
            let is_one = |name: &str| names.iter().any(|known| name.eq_ignore_ascii_case(known));
            (0..header.len())
                .filter(|&at| is_one(header[at].trim_start_matches('#').trim()))
                .collect()
        };
        let aliases = find(&["alias_symbol", "prev_symbol", "synonyms", "alias"]);
        let symbol = *find(&["symbol"]).first()?;
        (!aliases.is_empty()).then(|| Self {
            symbol,
            aliases,
            ensembl: find(&["ensembl_gene_id", "dbxrefs"]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<AliasTable, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aliases.tsv");
        std::fs::write(&path, text).unwrap();
        read_alias_table(&path)
    }

    const HGNC: &str = "hgnc_id\tsymbol\talias_symbol\tprev_symbol\tensembl_gene_id\n\
        1\tSEPTIN1\t\"LARP|PNUTL3\"\tSEPT1\tENSG00000000001\n\
        2\tMARCHF1\tRNF171\tMARCH1\tENSG00000000002\n\
        3\tCD3E\tT3E\t\tENSG00000000003\n\
        4\tLARP\t\t\t\n\
        5\tOTHER\tT3E\t\t\n";

    #[test]
    fn a_name_of_two_genes_and_the_symbol_of_another_are_left_out() {
        let found = table(HGNC).unwrap().of_panel(&[
            ("ENSG00000000001", "SEPTIN1"),
            ("ENSG00000000003", "CD3E"),
            ("ENSG00000000009", "NONE"),
        ]);
        assert_eq!(found.names, [vec!["PNUTL3", "SEPT1"], vec![], vec![]]);
        assert_eq!((found.n_symbols, found.n_ambiguous, found.n_unknown), (1, 1, 1));
        assert_eq!((found.n_names(), found.n_genes()), (2, 1));
    }

    #[test]
    fn a_panel_with_an_old_symbol_gets_the_new_one() {
        let hgnc = table(HGNC).unwrap();
        for gene in [("MARCH1", "MARCH1"), ("ENSG00000000002", "MARCH1")] {
            assert_eq!(hgnc.of_panel(&[gene]).names, [["MARCHF1", "RNF171"]], "{gene:?}");
        }
        // Not where the panel has the gene under its new one too.
        let both = hgnc.of_panel(&[("MARCH1", "MARCH1"), ("MARCHF1", "MARCHF1")]);
        assert_eq!(both.names, [vec![], vec!["RNF171"]]);
        assert_eq!((both.n_unknown, both.n_symbols), (1, 1));
    }

    #[test]
    fn every_form_of_table_is_read() {
        let ncbi = "#tax_id\tGeneID\tSymbol\tSynonyms\tdbXrefs\n\
            9606\t1\tCD3E\tT3E|TCRE\tMIM:1|Ensembl:ENSG00000000003\n\
            9606\t2\tA1BG\t-\t-\n";
        let plain = "alias\tsymbol\nT3E\tCD3E\nTCRE\tCD3E\n";
        let commas = "symbol,alias\nCD3E,T3E|TCRE\n";
        for text in [ncbi, plain, commas] {
            let found = table(text).unwrap().of_panel(&[("CD3E", "CD3E")]);
            assert_eq!(found.names, [["T3E", "TCRE"]], "{text}");
        }
        let found = table(ncbi).unwrap().of_panel(&[("ENSG00000000003", "OLD")]);
        assert_eq!(found.names, [["CD3E", "T3E", "TCRE"]]);
    }

    #[test]
    fn other_tables_are_refused_with_what_was_expected() {
        for text in ["gene\tname\nA\tB\n", "symbol\tname\nA\tB\n", "alias\tname\nA\tB\n"] {
            let error = table(text).unwrap_err().to_string();
            assert!(error.contains("alias_symbol") && error.contains("found"), "{error}");
        }
        assert!(matches!(table("alias\tsymbol\nA\n"), Err(DataError::Table { line: 2, .. })));
        assert!(matches!(table("alias\tsymbol\n"), Err(DataError::Empty { .. })));
    }
}
