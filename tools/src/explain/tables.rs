//! Tables and plots of `cic explain --out`.

use std::fs;
use std::io::{self, Write};

use cic_data::csv_field;

use super::bars::{self, Bar, Panel};
use super::cells::{Cell, TypeCalls};
use super::dimensions::Dimension;
use super::{Findings, OutFiles, Study};
use crate::console::tell;
use crate::failure::Failure;
use crate::output;

/// Writes all of them.
pub(super) fn write(files: &OutFiles, study: &Study<'_>, found: &Findings) -> Result<(), Failure> {
    fs::create_dir_all(&files.folder).map_err(|error| Failure::output(&files.folder, error))?;
    output::write(&files.dimensions, |out| write_dimensions(out, study, &found.dimensions))?;
    output::write(&files.gene_sets, |out| write_sets(out, study, found))?;
    output::write(&files.types, |out| write_types(out, study, &found.types))?;
    output::write(&files.types_plot, |out| out.write_all(plot_types(study, found).as_bytes()))?;
    output::write(&files.cells, |out| write_cells(out, study, &found.cells))?;
    output::write(&files.cells_plot, |out| out.write_all(plot_cells(study, found).as_bytes()))?;
    if found.cells.len() > MOST_PANELS {
        tell(format_args!("note: the plot shows {MOST_PANELS} of {} cells", found.cells.len()));
    }
    Ok(())
}

fn write_dimensions(
    out: &mut dyn Write,
    study: &Study<'_>,
    dimensions: &[Dimension],
) -> io::Result<()> {
    writeln!(out, "dimension\tgene\tsymbol\trank\tchange\tdecoder_gradient\tencoder_gradient")?;
    let panel = study.model.genes();
    for one in dimensions {
        for (rank, &gene) in one.order.iter().enumerate() {
            writeln!(
                out,
                "{}\t{}\t{}\t{}\t{:.6e}\t{:.6e}\t{:.6e}",
                one.dimension,
                csv_field(panel.id(gene)),
                csv_field(panel.symbol(gene)),
                rank + 1,
                one.effect.change[gene],
                one.effect.decoder_gradient[gene],
                one.effect.encoder_gradient[gene],
            )?;
        }
    }
    Ok(())
}

fn write_sets(out: &mut dyn Write, study: &Study<'_>, found: &Findings) -> io::Result<()> {
    writeln!(
        out,
        "dimension\tcollection\tset\tdescription\tn_named\tn_panel\toverlap\trising\tp_value\tq_value\t\
         bonferroni\trank_z\trank_p_value\trank_q_value\tgenes"
    )?;
    for one in &found.dimensions {
        for test in &one.sets {
            let collection = &found.collections[test.collection];
            let set = &collection.sets.sets[test.set];
            let genes: Vec<&str> = test.overlap.iter().map(|&gene| study.gene_name(gene)).collect();
            writeln!(
                out,
                "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{:.6e}\t{:.6e}\t{:.6e}\t{:.4}\t{:.6e}\t{:.6e}\t{}",
                one.dimension,
                csv_field(&collection.name),
                csv_field(&set.name),
                csv_field(&set.description),
                set.n_named,
                set.genes.len(),
                test.overlap.len(),
                test.n_rising,
                test.p_value,
                test.q_value,
                test.bonferroni,
                test.rank_sum.z,
                test.rank_sum.p_value,
                test.rank_q_value,
                csv_field(&genes.join(" ")),
            )?;
        }
    }
    Ok(())
}

fn write_types(out: &mut dyn Write, study: &Study<'_>, types: &[TypeCalls]) -> io::Result<()> {
    writeln!(out, "type\tagainst\tn_cells\tgene\tsymbol\tmean_value\tbaseline\tmean_contribution")?;
    let panel = study.model.genes();
    for one in types {
        for &gene in &one.order {
            writeln!(
                out,
                "{}\t{}\t{}\t{}\t{}\t{:.6}\t{:.6}\t{:.6e}",
                csv_field(study.model.labels().leaf_name(one.leaf)),
                csv_field(study.against(one.against)),
                one.n_cells,
                csv_field(panel.id(gene)),
                csv_field(panel.symbol(gene)),
                one.values[gene],
                study.baseline()[gene],
                one.contributions[gene],
            )?;
        }
    }
    Ok(())
}

fn write_cells(out: &mut dyn Write, study: &Study<'_>, cells: &[Cell]) -> io::Result<()> {
    writeln!(out, "cell\tcall\tagainst\tgene\tsymbol\tvalue\tbaseline\tcontribution")?;
    let panel = study.model.genes();
    for cell in cells {
        let name = csv_field(&study.dataset.matrix.obs_names[cell.row]);
        let call = csv_field(study.model.labels().leaf_name(cell.target.leaf));
        let against = csv_field(study.against(cell.target.against));
        for &gene in &cell.order {
            writeln!(
                out,
                "{name}\t{call}\t{against}\t{}\t{}\t{:.6}\t{:.6}\t{:.6e}",
                csv_field(panel.id(gene)),
                csv_field(panel.symbol(gene)),
                cell.input[gene],
                study.baseline()[gene],
                cell.contributions.genes[gene],
            )?;
        }
    }
    Ok(())
}

fn plot_types(study: &Study<'_>, found: &Findings) -> String {
    let panel = |one: &TypeCalls| Panel {
        title: study.model.labels().leaf_name(one.leaf).to_owned(),
        subtitle: format!("against {}, mean of {} cells", study.against(one.against), one.n_cells),
        bars: gene_bars(study, &one.order, &one.contributions, |gene| one.values[gene]),
        footer: others(&one.order, &one.contributions),
    };
    let panels: Vec<Panel> = found.types.iter().map(panel).collect();
    bars::panels(
        "Genes that decide calls: mean contributions to the log-odds; in grey the mean value and (the training mean)",
        &panels,
    )
}

fn plot_cells(study: &Study<'_>, found: &Findings) -> String {
    let panel = |cell: &Cell| Panel {
        title: format!(
            "{} ({})",
            study.model.labels().leaf_name(cell.target.leaf),
            study.dataset.matrix.obs_names[cell.row]
        ),
        subtitle: format!(
            "log-odds against {} {:+.2}, of the mean profile {:+.2}",
            study.against(cell.target.against),
            cell.contributions.at_cell,
            cell.contributions.at_baseline
        ),
        bars: gene_bars(study, &cell.order, &cell.contributions.genes, |gene| {
            f64::from(cell.input[gene])
        }),
        footer: others(&cell.order, &cell.contributions.genes),
    };
    let panels: Vec<Panel> = found.cells.iter().take(MOST_PANELS).map(panel).collect();
    bars::panels(
        "Genes that decided calls: contributions to the log-odds; in grey the value and (the training mean)",
        &panels,
    )
}

/// The genes of largest contribution, from for to against.
fn gene_bars(
    study: &Study<'_>,
    order: &[usize],
    contributions: &[f64],
    value: impl Fn(usize) -> f64,
) -> Vec<Bar> {
    let mut shown: Vec<usize> = order.iter().take(BARS).copied().collect();
    shown.sort_by(|&a, &b| contributions[b].total_cmp(&contributions[a]));
    let bar = |gene: usize| Bar {
        name: study.gene_name(gene).to_owned(),
        note: format!("{:.1} ({:.1})", value(gene), study.baseline()[gene]),
        value: contributions[gene],
    };
    shown.into_iter().map(bar).collect()
}

/// What the genes that have no bar contribute.
fn others(order: &[usize], contributions: &[f64]) -> String {
    let sum: f64 = order.iter().skip(BARS).map(|&gene| contributions[gene]).sum();
    match order.len().saturating_sub(BARS) {
        0 => String::new(),
        n => format!("{n} other genes together {sum:+.2}"),
    }
}

/// Genes of a panel.
const BARS: usize = 15;
const MOST_PANELS: usize = 30;
