//! Upper limits of measured sizes and counts, in `firmware-examples/size.toml`.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::{ci, workspace};

/// Figures of one image on one board by their names; regions are `instructions.REGION`.
pub type Figures = BTreeMap<String, u64>;

/// Compares with the limits of this image and board. Figures without a limit are reported but not
/// limited; a limit without a figure is an error, but for instructions where they were not counted.
pub fn check(image: &str, board: &str, measured: &Figures, is_counted: bool) -> Result<()> {
    let path = workspace::firmware().join("size.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let tables = parse(&text).with_context(|| format!("{}", path.display()))?;
    let name = format!("{image}.{board}");
    let Some(mut limits) = tables.get(&name).cloned() else {
        if ci::is_ci() {
            bail!("{} has no table [{name}]", path.display());
        }
        println!("  no limits yet; measured:\n[{name}]");
        for (figure, value) in measured {
            println!("{figure} = {value}");
        }
        return Ok(());
    };
    limits.retain(|figure, _| is_counted || !figure.starts_with("instructions."));
    let over = exceeded(&limits, measured);
    if !over.is_empty() {
        bail!("over the limits of {}: {}", path.display(), over.join("; "));
    }
    Ok(())
}

fn exceeded(limits: &Figures, measured: &Figures) -> Vec<String> {
    let mut over = Vec::new();
    for (figure, limit) in limits {
        match measured.get(figure) {
            Some(value) if value <= limit => {}
            Some(value) => over.push(format!("{figure} {value} > {limit}")),
            None => over.push(format!("{figure} was not measured")),
        }
    }
    over
}

/// The part of TOML that the file needs: tables of whole numbers, and comments.
fn parse(text: &str) -> Result<BTreeMap<String, Figures>> {
    let mut tables = BTreeMap::new();
    let mut current: Option<&mut Figures> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let number = index + 1;
        if line.is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if tables.contains_key(name) {
                bail!("line {number}: a second table [{name}]");
            }
            current = Some(tables.entry(name.to_owned()).or_default());
            continue;
        }
        let field = line.split_once('=').and_then(|(key, value)| {
            Some((key.trim(), value.trim().replace('_', "").parse::<u64>().ok()?))
        });
        let (key, value) =
            field.with_context(|| format!("line {number}: expected FIGURE = NUMBER"))?;
        let table = current.as_mut().with_context(|| format!("line {number}: no table yet"))?;
        table.insert(key.to_owned(), value);
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(pairs: &[(&str, u64)]) -> Figures {
        pairs.iter().map(|&(figure, value)| (figure.to_owned(), value)).collect()
    }

    fn limits() -> Figures {
        let text = "# why\n[hello.m4]\ntext = 1_000 # bytes\ninstructions.sum = 7\n";
        parse(text).unwrap().remove("hello.m4").unwrap()
    }

    #[test]
    fn accepts_the_limit_itself_and_refuses_one_more() {
        assert!(
            exceeded(&limits(), &figures(&[("text", 1000), ("instructions.sum", 7)])).is_empty()
        );
        let over = exceeded(&limits(), &figures(&[("text", 1001), ("instructions.sum", 7)]));
        assert_eq!(over, ["text 1001 > 1000"]);
    }

    #[test]
    fn a_limited_figure_must_be_measured() {
        let over = exceeded(&limits(), &figures(&[("text", 1)]));
        assert_eq!(over, ["instructions.sum was not measured"]);
    }

    #[test]
    fn figures_without_a_limit_pass() {
        let measured = figures(&[("text", 1), ("instructions.sum", 1), ("stack", 1 << 40)]);
        assert!(exceeded(&limits(), &measured).is_empty());
    }

    #[test]
    fn refuses_what_is_no_number_and_names_the_line() {
        let error = parse("[a.b]\ntext = many\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: expected FIGURE = NUMBER");
    }

    #[test]
    fn refuses_a_second_table_of_one_name() {
        let error = parse("[a.b]\n[a.b]\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: a second table [a.b]");
    }
}
