//! `cargo xtask trust`: what is rejected, what is promised and what is known without most genes, on the data sets here, and
//! `docs/trust.md` with what the commands print.

use anyhow::Result;

use super::page::Page;
use super::sets::Set;
use super::{Args, Paper, text};

/// Runs what has no result yet, and writes the page.
pub fn run(args: &Args) -> Result<()> {
    let paper = Paper::open(args, "trust")?;
    let mut page = Page::default();
    page.text(include_str!("trust.md"));
    no_cells(&paper, &mut page)?;
    left_out(&paper, &mut page)?;
    missing_genes(&paper, &mut page)?;
    paper.write(page)
}

/// Sets of counts, and what is no cell type in them.
const COUNTS: [(&str, &[&str]); 2] =
    [("pbmc3k", &[]), ("cbmc-panel500", &["--unlabelled", "Mouse,Unknown"])];

fn no_cells(paper: &Paper, page: &mut Page) -> Result<()> {
    page.text(include_str!("trust_no_cells.md"));
    for (name, further) in COUNTS {
        let set = Set::named(name)?;
        let model = paper.model(set, &format!("{name}.cic"), further)?;
        let labels = set.arguments(&paper.root);
        let mut kept: Vec<&str> = labels.iter().map(String::as_str).collect();
        kept.push("--keep-rows");
        let small = paper.quantized(set, &model, "int8", &kept)?;
        page.heading(name);
        for (model, how) in [(&model, ""), (&small, ""), (&model, "--thorough")] {
            let model = text(model);
            let mut arguments = vec!["--model", &model, "--impostors", "10000"];
            arguments.extend(further);
            arguments.extend(how.split_whitespace());
            let kept = format!("eval-{}{how}.txt", model.rsplit('/').next().unwrap_or(name));
            paper.show(page, &kept, &paper.arguments("eval", set, &arguments)?)?;
        }
    }
    Ok(())
}

fn left_out(paper: &Paper, page: &mut Page) -> Result<()> {
    page.text(include_str!("trust_left_out.md"));
    for (name, further) in [
        ("pbmc3k", vec![]),
        ("cell-lines-celseq2", vec![]),
        ("pollen", vec![]),
        ("dendritic-two-batches", vec!["--types", "CD1C"]),
    ] {
        let mut arguments = vec!["-q"];
        arguments.extend(further);
        page.heading(name);
        let arguments = paper.arguments("unseen", Set::named(name)?, &arguments)?;
        paper.show(page, &format!("unseen-{name}.txt"), &arguments)?;
    }
    Ok(())
}

fn missing_genes(paper: &Paper, page: &mut Page) -> Result<()> {
    page.text(include_str!("trust_missing.md"));
    for (name, further) in COUNTS {
        let set = Set::named(name)?;
        let model = text(&paper.model(set, &format!("{name}.cic"), further)?);
        let mut arguments = vec!["--model", &model, "--kinds", "genes,low_genes", "-q"];
        arguments.extend(further);
        page.heading(name);
        paper.show(
            page,
            &format!("noise-{name}.txt"),
            &paper.arguments("noise", set, &arguments)?,
        )?;
    }
    Ok(())
}
