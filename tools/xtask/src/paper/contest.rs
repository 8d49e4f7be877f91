//! The classifier autoencoder against linear methods on every labelled data set.

use anyhow::{Context, Result};
use serde_json::Value;

use super::page::Page;
use super::sets::SETS;
use super::{Paper, text};

/// Runs `cic compare` on every set and tells what it says.
pub fn section(paper: &Paper, page: &mut Page) -> Result<()> {
    page.text(include_str!("contest.md"));
    let (mut classified, mut reproduced, mut methods, mut commands) =
        (vec![], vec![], vec![], vec![]);
    for set in &SETS {
        let mut arguments = vec!["compare".into(), text(&set.file(&paper.root, &paper.work)?)];
        arguments.extend(set.arguments(&paper.root));
        arguments.extend(set.split(&paper.root));
        arguments.extend(set.division(&paper.root));
        arguments.extend(["--json".into(), "-q".into()]);
        let printed = paper.output(&format!("compare-{}.json", set.name), "cic", &arguments)?;
        let report: Value = serde_json::from_str(&printed).context("cic compare --json")?;
        let name = set.name;
        let of = |at: usize, key: &str| number(&report["comparisons"][at][key]);
        let interval = |at: usize, half: &str| {
            let (difference, half) = (of(at, "difference"), of(at, half));
            format!("{:+.4} to {:+.4}", difference - half, difference + half)
        };
        let stored = |method: usize, key: &str| {
            let value = &report["stored"]["classified"][method][key];
            value.as_f64().map_or("-".into(), |value| format!("{value:.3}"))
        };
        let verdict = |at: usize, margin: f64| {
            let (low, high) = (
                of(at, "difference") - of(at, "half_width"),
                of(at, "difference") + of(at, "half_width"),
            );
            match (low, high) {
                (low, _) if low > 0.0 => "better",
                (low, _) if low > -margin => "as good",
                (_, high) if high < 0.0 => "worse",
                _ => "undecided",
            }
        };
        for (at, key) in [(0, "accuracy"), (1, "macro_f1")] {
            classified.push(format!(
                "| {name}, {} | {:.4} | {:.4} | {:+.4} | {} | {} | {} | {} / {} |",
                key.replace("macro_f1", "macro-F1"),
                of(at, "mean"),
                of(at, "mean_against"),
                of(at, "difference"),
                interval(at, "half_width"),
                interval(at, "corrected_half_width"),
                verdict(at, 0.01),
                stored(0, key),
                stored(1, key),
            ));
        }
        let in_split = |key: &str| {
            report["stored"][key].as_f64().map_or("-".into(), |value| format!("{value:.4}"))
        };
        reproduced.push(format!(
            "| {name} | {:.4} | {:.4} | {} | {} | {:.4} | {} | {} / {} |",
            of(2, "mean"),
            of(2, "mean_against"),
            interval(2, "half_width"),
            verdict(2, 0.0),
            of(3, "mean_against"),
            interval(3, "half_width"),
            in_split("r2_model"),
            in_split("r2_pca"),
        ));
        methods.push(by_method(name, &report));
        commands.push(format!("$ {}", paper.shown("cic", &arguments)));
    }
    page.table(
        "| data, figure | model | best linear | difference | 95 % interval | for new samples | verdict | stored split: model / best linear |",
        &classified,
    );
    page.text(
        "Better: the interval of the difference is above 0. As good: it is above -1 point. Undecided: it reaches \
         below -1 point and above 0; the sets where it does are small, and divided by study or tissue.",
    );
    page.heading("Every method, mean accuracy over the divisions");
    page.table(&format!("| data | {} |", METHODS.join(" | ")), &methods);
    page.heading("Reproduction, R2");
    page.table(
        "| data | model | its linear path | 95 % interval of the difference | verdict | PCA | 95 % interval of the difference | stored split: model / PCA |",
        &reproduced,
    );
    page.text(include_str!("contest_notes.md"));
    page.text(&format!("```\n{}\n```", commands.join("\n")));
    Ok(())
}

const METHODS: [&str; 10] = [
    "classifier autoencoder",
    "best linear",
    "logistic regression",
    "linear SVM",
    "shrinkage LDA",
    "PCA, logistic regression",
    "PCA, 5 neighbours",
    "codes, random forest",
    "codes, linear SVM",
    "codes, shrinkage LDA",
];

fn by_method(name: &str, report: &Value) -> String {
    let none = Vec::new();
    let divisions = report["divisions"].as_array().unwrap_or(&none);
    let cells = METHODS.map(|method| {
        let of = |division: &Value| -> Option<f64> {
            let all = division["classified"].as_array()?;
            all.iter().find(|one| one["method"] == method)?["accuracy"].as_f64()
        };
        let values: Vec<f64> = divisions.iter().filter_map(of).collect();
        match values.len() {
            0 => "-".to_owned(),
            n => format!("{:.4}", values.iter().sum::<f64>() / n as f64),
        }
    });
    format!("| {name} | {} |", cells.join(" | "))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}
