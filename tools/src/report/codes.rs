//! Sections about the codes: where cells lie, how profiles come back, types that were left out, what dimensions mean.

use std::path::Path;

use cic_model::ValueKind;
use cic_trainer::pipeline::data_digest;
use maud::{Markup, html};

use super::calls::fifths;
use super::findings::{Findings, N_NEIGHBOURS, Reproduction, Sources};
use crate::plots::{Axis, Bar, Bars, Category, Estimate, Forest, ForestRow, Scatter, percent};
use crate::sheet::Section;
use crate::sheet::words::{absent, beware, count, decimal, details, figure, table, text};
use crate::unseen::test_digest;

/// The codes in the plane.
pub(super) fn map(findings: &Findings) -> Section {
    let map = &findings.map;
    let place = |at: usize| (map.places[(at, 0)], map.places[(at, 1)]);
    let truth = |at: usize| findings.truth[map.chosen[at]].as_deref();
    let category = |name: &str, is_in: &dyn Fn(usize) -> bool| Category {
        name: name.to_owned(),
        points: (0..map.chosen.len()).filter(|&at| is_in(at)).map(place).collect(),
    };
    let mut by_label: Vec<Category> = (findings.test_labels().into_iter())
        .map(|label| category(label, &|at| truth(at) == Some(label)))
        .collect();
    let unlabelled = category("no label", &|at| truth(at).is_none());
    if !unlabelled.points.is_empty() {
        by_label.push(unlabelled);
    }
    let calls = &findings.assessment.calls.calls;
    let refused = |at: usize| calls[map.chosen[at]].reject.is_some();
    let is_right = |at: usize| findings.called_right(map.chosen[at]);
    let mut by_outcome = vec![
        category("called right", &|at| truth(at).is_some() && is_right(at)),
        category("called wrong", &|at| truth(at).is_some() && !refused(at) && !is_right(at)),
    ];
    let left = category("refused", &refused);
    if !left.points.is_empty() {
        by_outcome.push(left);
    }
    let scatter = |title: &str, categories| {
        let (x, y) = (Axis::new("t-SNE 1"), Axis::new("t-SNE 2"));
        Scatter { title: title.into(), x, y, categories }.svg()
    };
    let (n, all) = (map.chosen.len(), findings.rows.len());
    let body = html! {
        p { "Every dot is a test cell; cells with similar codes lie near each other. The codes were laid out in the \
             plane without looking at labels, and coloured by the labels of the file afterwards." }
        (figure(scatter("Test cells by their label", by_label), html! {
            "Exact t-SNE of the codes, from their first two principal components, perplexity 30 at most; the same codes give \
             the same map."
            @if n < all { " Of " (count(all)) " test cells, " (count(n)) " are shown, evenly chosen." }
        }))
        (figure(scatter("Where the model is wrong", by_outcome), html! {
            "The same map. Wrong calls along a border are cells between two types; wrong calls deep inside a group \
             deserve a look at their labels."
        }))
        (beware(html! {
            "Only who is near whom can be read from such a map. Sizes of groups, distances between them and the axes \
             themselves mean nothing."
        }))
    };
    Section { id: "map", title: "Map of the codes", body }
}

/// How well profiles come back.
pub(super) fn reproduction(sources: &Sources<'_>, findings: &Findings) -> Section {
    let body = match &findings.reproduction {
        Some(reproduction) => reproduced(sources, reproduction),
        None => absent(
            "The model has no decoder, so nothing can be reproduced. cic-quantize keeps it without",
            "--no-decoder",
        ),
    };
    Section { id: "reproduction", title: "Do profiles come back from their codes?", body }
}

fn reproduced(sources: &Sources<'_>, reproduction: &Reproduction) -> Markup {
    let report = &reproduction.report;
    let bar = |name: &str, value: f64, category: usize| Bar {
        name: name.to_owned(),
        value,
        text: decimal(value, 3),
        category,
    };
    let mut bars: Vec<Bar> = (report.methods.iter().enumerate())
        .map(|(at, method)| bar(&method.name, method.spearman, usize::from(at > 0)))
        .collect();
    bars.push(bar("nearest other test profile", report.nearest_other.median_spearman, 2));
    if let Some(replicates) = &report.replicates {
        bars.push(bar("technical replicates", replicates.median_spearman, 2));
    }
    let chart = Bars {
        title: "Likeness of profiles and their reproductions".into(),
        axis: Axis::new("Spearman correlation over genes"),
        bars,
    };
    let methods = report.methods.iter().map(|method| {
        vec![
            text(&method.name),
            text(decimal(method.pearson, 3)),
            text(decimal(method.spearman, 3)),
            text(decimal(method.r2, 3)),
            text(percent(method.nearest_by_spearman)),
            text(crate::plots::number(method.median_rank_by_spearman)),
        ]
    });
    let types = report.types.iter().map(|one| {
        vec![
            text(&one.label),
            text(count(one.n)),
            text(decimal(one.pearson, 3)),
            text(decimal(one.spearman, 3)),
            text(decimal(one.r2, 3)),
        ]
    });
    let r2 = |name: &str| {
        report.methods.iter().find(|method| method.name == name).map(|method| method.r2)
    };
    let own = report.methods.first().map_or(f64::NAN, |method| method.r2);
    html! {
        p { "A code of " (report.code_dim) " numbers stands for a profile of " (count(sources.model.n_genes()))
            " genes. How much of the profile is still in it? Each test profile was turned into its code and back, and \
             compared with itself over the " (count(report.n_genes)) " most variable genes. Other methods got as many \
             numbers and " (count(report.n_train)) " training rows."
            @if !reproduction.is_all {
                " Here, " (count(report.n_test)) " test rows are looked at, evenly chosen; the model had all training rows."
            }
        }
        (figure(chart.svg(), html! {
            "Blue: this model. Orange: other methods; means over the test profiles. Green: how alike different \
             profiles are, medians; a code is worth something where its reproduction is nearer than that."
            @if let Some(pca) = r2("PCA") {
                " R² of this model " strong { (decimal(own, 3)) } ", of principal components "
                strong { (decimal(pca, 3)) } "."
            }
        }))
        (details("All methods", html! {
            (table(&["method", "Pearson", "Spearman", "R²", "own is nearest", "median rank"], methods.collect()))
            p { "R² is against the mean training profile. Own is nearest: share of reproductions that are more alike \
                 to their own profile than to any of the other " (count(report.n_test.saturating_sub(1))) " test \
                 profiles; median rank of the own one among all." }
            @for note in &report.skipped { p { (note) } }
        }))
        @if !report.types.is_empty() {
            (details("This model, by type", table(&["type", "cells", "Pearson", "Spearman", "R²"], types.collect())))
        }
        (separation(reproduction))
        (beware(html! {
            @if sources.dataset.kind == ValueKind::Counts {
                "Single-cell counts are mostly chance: even the true profile could not reproduce the counts of one \
                 cell, so R² stays far below 1 for every method. "
            }
            "Principal components are the best that a linear method can do for R² on the rows it was fitted to, and \
             labels found by clustering them favour them in the table of types."
        }))
    }
}

fn separation(reproduction: &Reproduction) -> Markup {
    let rows = reproduction.types.iter().map(|one| {
        vec![
            text(&one.label),
            text(count(one.n)),
            text(decimal(one.by_code.silhouette, 3)),
            text(decimal(one.by_pca.silhouette, 3)),
            text(percent(one.by_code.purity)),
            text(percent(one.by_pca.purity)),
        ]
    });
    let head = [
        "type",
        "cells",
        "silhouette, codes",
        "silhouette, PCA",
        "own neighbours, codes",
        "own neighbours, PCA",
    ];
    html! {
        @if reproduction.types.len() > 1 {
            (details("How well types keep together, in codes and in principal components", html! {
                (table(&head, rows.collect()))
                p { "Silhouette, −1 to 1: how much nearer cells are to their own type than to the next. Own neighbours: \
                     share of the " (N_NEIGHBOURS) " nearest cells (or as many as the type has others) that are of the \
                     same type." }
            }))
        }
    }
}

/// Types that were left out of training.
pub(super) fn unseen(sources: &Sources<'_>, findings: &Findings) -> Section {
    let Some(report) = &findings.extras.unseen else {
        let file = super::provenance::file_name(&sources.args.data.data);
        let labels = sources.args.labels.labels.as_deref().unwrap_or("KEY");
        let split = match sources.args.split.split.as_deref() {
            Some(split) => format!(" --split {}", super::provenance::file_name(Path::new(split))),
            None => String::new(),
        };
        let how = format!("cic unseen {file} --labels {labels}{split} --json > unseen.json");
        let body =
            absent("Not measured for this page. Run, and give the file with --unseen:", &how);
        return Section { id: "unseen", title: "Types never seen", body };
    };
    let pair = |of: fn(&crate::unseen::Figures) -> f64| {
        let rows = report.types.iter().map(move |one| ForestRow {
            name: format!("{} ({})", one.label, one.n),
            estimates: [&one.model, &one.pca]
                .map(|figures| Some(Estimate { value: of(figures), interval: None }))
                .into(),
        });
        rows.collect::<Vec<_>>()
    };
    let forest = |title: &str, axis, of| {
        let groups = vec!["codes".into(), "principal components".into()];
        Forest { title: title.into(), axis, groups, rows: pair(of) }.svg()
    };
    let r2 = forest(
        "Reproduction of types left out",
        Axis::new("R² against the mean training profile"),
        |figures| figures.r2,
    );
    let purity = forest(
        "Do cells of a type left out keep together?",
        Axis {
            ticks: fifths(),
            ..Axis::between("share of nearest neighbours that are of the type", 0.0, 1.0)
        },
        |figures| figures.purity,
    );
    let rows = report.types.iter().map(|one| {
        vec![
            text(&one.label),
            text(count(one.n)),
            text(decimal(one.model.r2, 3)),
            text(decimal(one.pca.r2, 3)),
            text(decimal(one.model.silhouette, 3)),
            text(decimal(one.pca.silhouette, 3)),
            text(percent(one.model.purity)),
            text(percent(one.pca.purity)),
            text(&one.nearest),
        ]
    });
    let head = [
        "left out",
        "cells",
        "R²",
        "PCA",
        "silhouette",
        "PCA",
        "own neighbours",
        "PCA",
        "nearest type",
    ];
    let told = |of: &Option<String>, here: Option<&str>| of.is_none() || of.as_deref() == here;
    let is_other = !told(&report.data_digest, Some(&data_digest(&sources.dataset.matrix)))
        || !told(&report.labels, sources.args.labels.labels.as_deref());
    let test_here = test_digest(sources.dataset, sources.annotations);
    let is_other_split = report.command.is_some() && report.test_digest != test_here;
    let body = html! {
        @if is_other {
            (beware(html! {
                "These figures are of other cells or other labels than the ones on this page: "
                code { "cic unseen" } " was given another file or column."
            }))
        } @else if is_other_split {
            (beware(html! {
                "Training and test cells were divided in another way than for the rest of this page: "
                code { "cic unseen" } " was given another " code { "--split" } "."
            }))
        }
        p { "For each type a new model was trained without any of its cells, and then shown them. A code that describes \
             cells in general still reproduces the unknown type, and keeps it apart from the known ones." }
        (figure(r2, html! {
            "To the right is better. In brackets the number of cells."
        }))
        (figure(purity, html! {
            "At 100 %, the unknown type forms a group of its own; near 0 %, it is mixed with known ones."
        }))
        (details("All figures", table(&head, rows.collect())))
        (beware(html! {
            "These are other models than the one on this page"
            @if let Some(command) = &report.command { ", trained by " code { "cic " (command) } }
            ". Types of a few cells tell little, and a type whose nearest relative was seen is easier than one without."
        }))
    };
    Section { id: "unseen", title: "Types never seen", body }
}

/// What gene sets the dimensions are about.
pub(super) fn pathways(sources: &Sources<'_>, findings: &Findings) -> Section {
    let Some(explained) = &findings.extras.explained else {
        let how = "cic explain DATA --model M.cic --gmt SETS.gmt --json > explained.json";
        let body =
            absent("Not looked up for this page. Run, and give the file with --explained:", how);
        return Section { id: "pathways", title: "What the dimensions are about", body };
    };
    let rows = explained.dimensions.iter().map(|dimension| {
        let mut types: Vec<(&str, f64)> = dimension
            .types
            .iter()
            .filter_map(|one| Some((one.label.as_str(), one.mean?)))
            .collect();
        types.sort_by(|a, b| b.1.total_cmp(&a.1));
        let genes: Vec<&str> =
            dimension.rising.iter().take(6).map(|gene| gene.gene.as_str()).collect();
        let sure = |set: &&super::explained::Set| set.q_value.is_some_and(|q| q < 0.05);
        vec![
            text(dimension.dimension.to_string()),
            text(types.first().map_or(String::new(), |one| one.0.to_owned())),
            text(genes.join(", ")),
            html! {
                @for set in dimension.over_represented.iter().filter(sure).take(3) {
                    p.set title=(set.collection) {
                        (set.title) " (" (set.overlap) " of " (set.n_panel) " genes, q "
                        (crate::plots::number(set.q_value.unwrap_or(f64::NAN))) ")"
                    }
                }
            },
        ]
    });
    let is_other = explained.model_id != sources.model.id().to_string();
    let body = html! {
        p { "Each number of the code rises and falls with some genes. Here are, for each dimension, the type in which it \
             is highest, the genes that rise most with it, and gene sets that are more often among its genes than chance \
             would have it (q below .05, corrected for all sets and dimensions)."
            @if explained.n_cells > 0 {
                " Unlike the rest of the page, this is of all " (count(explained.n_cells)) " cells that "
                code { "cic explain" } " was shown."
            }
        }
        (table(&["dimension", "highest in", "rising genes", "gene sets"], rows.collect()))
        @if is_other {
            (beware(html! {
                "These are the dimensions of model "
                code { (explained.model_id.chars().take(12).collect::<String>()) } ", not of the one on this page."
            }))
        }
        (beware(html! {
            "A dimension need not stand for one process: the network was never asked for that. Sets overlap, and large \
             sets of strongly expressed genes (ribosome, mitochondrion) turn up everywhere."
        }))
    };
    Section { id: "pathways", title: "What the dimensions are about", body }
}
