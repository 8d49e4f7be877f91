//! How the genes of a file find their place in a panel: the rules of docs/format.md, section genes.

use std::collections::BTreeMap;

use cic_data::{
    CsrMatrix, DataError, ExpressionMatrix, Gene, ObsTable, PanelAlignment, Source, align,
};
use cic_model::genes::DuplicatePolicy::{self, KeepFirst, Refuse, Sum};
use cic_model::profile::Library;
use cic_model::rules::Rules;
use cic_model::spec::{
    GeneSpec, LabelsSpec, LayoutPlan, ModelSpec, NetworkSpec, PanelSpec, ProfileSpec,
    library_shares_q30,
};
use cic_model::{Activation, DenseLayer, IdKind, Model, Network, Segment, ValueKind};

/// A model of these genes: id, symbol, other names.
fn model_of(
    id_kind: IdKind,
    duplicates: DuplicatePolicy,
    genes: &[(&str, &str, &[&str])],
) -> Vec<u8> {
    let n_genes = genes.len();
    let shares = library_shares_q30(&vec![1.0; n_genes]);
    let gene = |(&(id, symbol, aliases), share): (&(&str, &str, &[&str]), u32)| GeneSpec {
        id: id.into(),
        symbol: symbol.into(),
        aliases: aliases.iter().map(|alias| (*alias).into()).collect(),
        library_share_q30: share,
    };
    let encoder = DenseLayer {
        in_dim: n_genes,
        segments: vec![Segment { len: 1, activation: Activation::Identity }],
        carry: 0,
        weights: vec![1.0; n_genes],
        bias: vec![0.0],
    };
    let spec = ModelSpec {
        panel: PanelSpec {
            id_kind,
            duplicates,
            genes: genes.iter().zip(shares).map(gene).collect(),
        },
        profiles: vec![ProfileSpec {
            name: "counts".into(),
            kind: ValueKind::Counts,
            library: Library::Panel,
            target_sum: 10_000,
            fill_values: vec![0.0; n_genes],
            limits: Vec::new(),
            levels: None,
        }],
        network: NetworkSpec::F32(Network {
            encoder: vec![encoder],
            classifier: Vec::new(),
            decoder: Vec::new(),
        }),
        labels: LabelsSpec::default(),
        confidence: None,
        novelty: None,
        rules: Rules {
            min_counts: 0,
            min_genes: 0,
            min_coverage_q16: 0,
            min_confidence_q16: 0,
            inv_temperature_q16: 1 << 16,
        },
        provenance: BTreeMap::new(),
        rows: Default::default(),
        golden: Default::default(),
    };
    spec.to_bytes(LayoutPlan::default()).unwrap()
}

/// One cell, with the value 1 for its first gene, 10 for the second, and so on.
fn file(genes: Vec<Gene>) -> ExpressionMatrix {
    let values: Vec<f32> = (0..genes.len()).map(|gene| 10_f32.powi(gene as i32)).collect();
    ExpressionMatrix {
        obs_names: vec!["cell".into()],
        values: CsrMatrix::from_dense(genes.len(), &values).unwrap(),
        genes,
        obs: ObsTable::default(),
        source: Source::default(),
    }
}

/// What each gene of the panel gets of the one cell.
fn aligned(bytes: &[u8], genes: Vec<Gene>) -> Vec<f32> {
    let model = Model::open_verified(bytes).unwrap();
    let cells = align(&file(genes), model.genes()).unwrap();
    let mut dense = vec![0.0; model.n_genes()];
    let (genes, values) = cells.values.row(0);
    for (&gene, &value) in genes.iter().zip(values) {
        dense[gene as usize] = value;
    }
    dense
}

fn named(names: &[&str]) -> Vec<Gene> {
    names.iter().map(|name| Gene::new(*name, None, None)).collect()
}

const CD3E: (&str, &str, &[&str]) = ("ENSG00000198851", "CD3E", &["T3E", "TCRE"]);
const SEPTIN1: (&str, &str, &[&str]) = ("ENSG00000180096", "SEPTIN1", &["SEPT1"]);

#[test]
fn every_kind_of_name_finds_its_gene() {
    let bytes = model_of(IdKind::Ensembl, KeepFirst, &[CD3E, SEPTIN1]);
    for names in [
        ["ENSG00000198851", "ENSG00000180096"],
        ["ENSG00000198851.12", "ENSG00000180096.3"],
        ["CD3E", "SEPTIN1"],
        ["T3E", "SEPT1"],
        ["TCRE", "ENSG00000180096"],
    ] {
        assert_eq!(aligned(&bytes, named(&names)), [1.0, 10.0], "{names:?}");
    }
    for names in [["cd3e", "Septin1"], ["ENSMUSG00000032093", "CD3E "]] {
        assert_eq!(aligned(&bytes, named(&names)), [0.0, 0.0], "{names:?}");
    }
    let overlap = |names: &[&str]| {
        let model = Model::open_verified(&bytes).unwrap();
        let matrix = file(named(names));
        PanelAlignment::new(matrix.names(), model.genes()).unwrap().overlap
    };
    let one = overlap(&["ENSG00000198851.1", "SEPT1"]);
    assert_eq!((one.n_present, one.n_by_ensembl, one.n_by_alias), (2, 1, 1));
    assert_eq!(overlap(&["CD3E", "SEPTIN1"]).n_by_alias, 0);
}

#[test]
fn an_alias_takes_no_place_of_a_gene_that_is_there_under_its_own_name() {
    for policy in [KeepFirst, Sum, Refuse] {
        let bytes = model_of(IdKind::Ensembl, policy, &[CD3E, SEPTIN1]);
        for own in ["CD3E", "ENSG00000198851.4"] {
            // Whichever comes first; it is no duplicate either.
            assert_eq!(aligned(&bytes, named(&["T3E", own])), [10.0, 0.0], "{policy:?}");
            assert_eq!(aligned(&bytes, named(&[own, "T3E"])), [1.0, 0.0], "{policy:?}");
        }
        let model = Model::open_verified(&bytes).unwrap();
        let matrix = file(named(&["T3E", "CD3E"]));
        let overlap = PanelAlignment::new(matrix.names(), model.genes()).unwrap().overlap;
        assert_eq!((overlap.n_present, overlap.n_duplicates, overlap.n_by_alias), (1, 0, 0));
        assert_eq!(overlap.share_q30, model.genes().library_share_q30()[0]);
    }
    // The own name of one gene of the file and the alias of another: an exact name comes first.
    let bytes = model_of(IdKind::Symbol, KeepFirst, &[("A", "A", &["C"]), ("B", "B", &[])]);
    let gene = Gene { id: "B".into(), symbol: Some("C".into()), ensembl: None };
    assert_eq!(aligned(&bytes, vec![gene]), [0.0, 1.0]);
}

#[test]
fn duplicates_follow_the_policy_of_the_model() {
    let genes = || named(&["CD3E", "SEPTIN1", "ENSG00000198851", "CD3E"]);
    let of = |policy| model_of(IdKind::Ensembl, policy, &[CD3E, SEPTIN1]);
    assert_eq!(aligned(&of(KeepFirst), genes()), [1.0, 10.0]);
    assert_eq!(aligned(&of(Sum), genes()), [1_101.0, 10.0]);
    let bytes = of(Refuse);
    let model = Model::open_verified(&bytes).unwrap();
    let error = align(&file(genes()), model.genes()).unwrap_err();
    assert!(matches!(error, DataError::DuplicateGene { .. }));
    let words =
        ["\"CD3E\" and \"ENSG00000198851\" are both the model's gene \"CD3E\"", "remove one"];
    assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    // Two aliases of a gene whose own name is not there are duplicates as well.
    let aliases = || named(&["TCRE", "SEPTIN1", "T3E"]);
    assert_eq!(aligned(&of(KeepFirst), aliases()), [1.0, 10.0]);
    assert_eq!(aligned(&of(Sum), aliases()), [101.0, 10.0]);
    assert!(align(&file(aliases()), model.genes()).is_err());
}

#[test]
fn symbols_do_not_overrule_ensembl_ids_that_differ() {
    let bytes = model_of(IdKind::Ensembl, KeepFirst, &[CD3E, SEPTIN1]);
    for symbol in ["CD3E", "T3E"] {
        let other = Gene::new("ENSG00000000009", Some(symbol), None);
        assert_eq!(aligned(&bytes, vec![other]), [0.0, 0.0], "{symbol}");
    }
    // A panel of symbols has no ids to differ from.
    let bytes = model_of(IdKind::Symbol, KeepFirst, &[("CD3E", "CD3E", &["T3E"])]);
    for symbol in ["CD3E", "T3E"] {
        let gene = Gene::new("ENSG00000198851.7", Some(symbol), None);
        assert_eq!(aligned(&bytes, vec![gene]), [1.0], "{symbol}");
    }
}

#[test]
fn opaque_panels_match_ids_alone() {
    let bytes = model_of(IdKind::Opaque, KeepFirst, &[("201746_at", "TP53", &["P53"])]);
    assert_eq!(aligned(&bytes, named(&["201746_at"])), [1.0]);
    for name in ["TP53", "P53"] {
        assert_eq!(aligned(&bytes, named(&[name])), [0.0], "{name}");
    }
}

#[test]
fn a_name_of_two_genes_is_written_as_the_name_of_none() {
    let genes = [("A", "A", &["X", "Y"][..]), ("B", "B", &["X"])];
    let bytes = model_of(IdKind::Symbol, KeepFirst, &genes);
    let model = Model::open_verified(&bytes).unwrap();
    assert_eq!(model.genes().aliases().collect::<Vec<_>>(), [("Y", 0)]);
    assert_eq!(ModelSpec::from_model(&model).panel.genes[0].aliases, ["Y"]);
}
