//! The choice of the gene panel: against NumPy, on simulated cells, and on real ones.

use std::collections::HashMap;
use std::path::PathBuf;

use cic_data::simulate::Simulation;
use cic_data::{CsrMatrix, ExpressionMatrix, Gene, ObsTable, ReadOptions, Source, read_expression};
use cic_model::ValueKind;
use cic_trainer::panel::{PanelChoice, PanelReason, PanelRequest, PanelSize, choose};

#[test]
fn the_choice_equals_that_of_numpy() {
    let golden = golden();
    let whole = |name: &str| golden[name].iter().map(|number| *number as usize);
    let counts: Vec<f32> = golden["counts"].iter().map(|count| *count as f32).collect();
    let labels: Vec<u32> = whole("labels").map(|label| label as u32).collect();
    let n_genes = counts.len() / labels.len();
    let rows: Vec<usize> = whole("fit").collect();
    let matrix = ExpressionMatrix {
        obs_names: (0..labels.len()).map(|row| row.to_string()).collect(),
        genes: (0..n_genes).map(|gene| Gene::new(format!("G{gene:02}"), None, None)).collect(),
        values: CsrMatrix::from_dense(n_genes, &counts).unwrap(),
        obs: ObsTable::default(),
        source: Source::default(),
    };
    let columns: Vec<u32> = whole("columns").map(|column| column as u32).collect();
    let choice = choose(&PanelRequest {
        matrix: &matrix,
        rows: &rows,
        labels: &labels,
        n_classes: 3,
        kind: ValueKind::Counts,
        size: PanelSize::Genes(columns.len()),
    });
    assert_eq!(choice.columns(), columns);
    assert_eq!(n_chosen(&choice, PanelReason::Marker), golden["n_markers"][0] as usize);
    assert_eq!(n_chosen(&choice, PanelReason::Anchor), golden["n_anchors"][0] as usize);
    for (position, gene) in choice.genes.iter().enumerate() {
        assert!((gene.detection - golden["detection"][position]).abs() < 1e-12);
        assert!((gene.mean - golden["mean"][position]).abs() < 1e-12);
        assert!((gene.library_share - golden["library_share"][position]).abs() < 1e-12);
    }
    let correlation = choice.depth_correlation.unwrap();
    assert!((correlation - golden["depth_correlation"][0]).abs() < 1e-12);
}

#[test]
fn permuted_genes_give_the_same_panel() {
    let cells = Simulation { n_cells: 200, n_genes: 300, ..Simulation::default() }.run();
    let mut reversed = cells.matrix.clone();
    reversed.genes.reverse();
    let n_genes = reversed.genes.len() as u32;
    for row in 0..reversed.obs_names.len() {
        let range = reversed.values.indptr[row]..reversed.values.indptr[row + 1];
        reversed.values.indices[range.clone()].reverse();
        reversed.values.data[range.clone()].reverse();
        for column in &mut reversed.values.indices[range] {
            *column = n_genes - 1 - *column;
        }
    }
    let rows: Vec<usize> = (0..150).collect();
    let names = |matrix: &ExpressionMatrix| -> Vec<String> {
        let choice = choose(&PanelRequest {
            matrix,
            rows: &rows,
            labels: &cells.labels,
            n_classes: 8,
            kind: ValueKind::Counts,
            size: PanelSize::Genes(100),
        });
        choice.columns().iter().map(|gene| matrix.genes[*gene as usize].id.clone()).collect()
    };
    assert_eq!(names(&cells.matrix), names(&reversed));
}

#[test]
fn rows_that_are_not_fitted_change_nothing() {
    let few = Simulation { n_cells: 150, n_genes: 300, ..Simulation::default() };
    let many = Simulation { n_cells: 250, ..few.clone() };
    let rows: Vec<usize> = (0..150).collect();
    let of = |settings: Simulation| {
        let cells = settings.run();
        choose(&PanelRequest {
            matrix: &cells.matrix,
            rows: &rows,
            labels: &cells.labels,
            n_classes: 8,
            kind: ValueKind::Counts,
            size: PanelSize::Genes(80),
        })
    };
    assert_eq!(of(few), of(many));
}

#[test]
fn rare_blood_cells_get_their_textbook_markers() {
    let Some(path) = data_file("pbmc3k/pbmc3k.h5ad") else { return };
    let matrix = read_expression(&path, &ReadOptions::default()).unwrap();
    let types = matrix.obs.column("cell_type").unwrap();
    let names: Vec<String> =
        (0..matrix.n_obs()).map(|row| types.text(row).unwrap().into_owned()).collect();
    let mut classes = names.clone();
    classes.sort();
    classes.dedup();
    let labels: Vec<u32> =
        names.iter().map(|name| classes.binary_search(name).unwrap() as u32).collect();
    let rows: Vec<usize> = (0..matrix.n_obs()).filter(|row| row % 4 != 0).collect();
    for (n_genes, lowest_correlation) in [(500, 0.985), (2000, 0.997)] {
        let choice = choose(&PanelRequest {
            matrix: &matrix,
            rows: &rows,
            labels: &labels,
            n_classes: classes.len(),
            kind: ValueKind::Counts,
            size: PanelSize::Genes(n_genes),
        });
        assert_eq!(choice.genes.len(), n_genes);
        let panel: Vec<&str> = choice
            .columns()
            .iter()
            .filter_map(|gene| matrix.genes[*gene as usize].symbol.as_deref())
            .collect();
        // Two of platelets, one of dendritic cells, then natural killer, B, monocyte, CD8 T cells.
        for symbol in ["PPBP", "PF4", "FCER1A", "GNLY", "MS4A1", "S100A8", "FCGR3A", "CD8A"] {
            assert!(panel.contains(&symbol), "{symbol} is missing in a panel of {n_genes}");
        }
        let correlation = choice.depth_correlation.unwrap();
        println!(
            "{n_genes} genes: {} markers, {} anchors, library share {:.3}, correlation {:.4}",
            n_chosen(&choice, PanelReason::Marker),
            n_chosen(&choice, PanelReason::Anchor),
            choice.library_share(),
            correlation
        );
        assert!(correlation > lowest_correlation, "{correlation}");
    }
}

fn n_chosen(choice: &PanelChoice, reason: PanelReason) -> usize {
    choice.genes.iter().filter(|gene| gene.reason == reason).count()
}

fn golden() -> HashMap<String, Vec<f64>> {
    include_str!("fixtures/panel.tsv")
        .lines()
        .map(|line| {
            let (name, numbers) = line.split_once('\t').unwrap();
            (name.to_owned(), numbers.split(' ').map(|number| number.parse().unwrap()).collect())
        })
        .collect()
}

/// A file of the real data sets: in the folder named by `CIC_DATA`, or beside the repository.
fn data_file(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CIC_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")),
        PathBuf::from,
    );
    let path = folder.join(name);
    if !path.exists() {
        println!("SKIPPED: {} is absent; set CIC_DATA to the folder of data sets", path.display());
        return None;
    }
    Some(path)
}
