//! Upper limits of measured sizes and counts, in `firmware-examples/budgets.tsv`.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// One measured figure; `None` where the image does not print it.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Its column in the table.
    pub column: &'static str,
    /// The figure.
    pub value: Option<u64>,
}

/// Compares with the row of this image and board. An image without a row, and a figure whose
/// field is `-`, are reported but not limited.
pub fn check(image: &str, board: &str, measured: &[Measured]) -> Result<()> {
    let path = workspace::firmware().join("budgets.tsv");
    let table = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let over =
        exceeded(&table, image, board, measured).with_context(|| format!("{}", path.display()))?;
    if !over.is_empty() {
        bail!("over the budget of {}: {}", path.display(), over.join("; "));
    }
    Ok(())
}

fn exceeded(table: &str, image: &str, board: &str, measured: &[Measured]) -> Result<Vec<String>> {
    let mut rows = table.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let header = rows.next().context("empty table")?;
    let Some(row) = rows.find(|row| row.starts_with(&[image, board])) else {
        println!("  no budget for {image} on {board}");
        return Ok(Vec::new());
    };
    let mut over = Vec::new();
    for Measured { column, value } in measured {
        let position = header.iter().position(|name| name == column);
        let field = position.and_then(|position| row.get(position)).copied();
        let field = field.with_context(|| format!("{image} {board}: no field {column}"))?;
        if field == "-" {
            continue;
        }
        let limit: u64 = field.parse().with_context(|| format!("{image} {board}: {column}"))?;
        match value {
            Some(value) if *value <= limit => {}
            Some(value) => over.push(format!("{column} {value} > {limit}")),
            None => over.push(format!("{column} was not measured")),
        }
    }
    Ok(over)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "image\tboard\ttext\tstack\nhello\tm4\t100\t-\n";

    fn over(column: &'static str, value: Option<u64>) -> Vec<String> {
        exceeded(TABLE, "hello", "m4", &[Measured { column, value }]).unwrap()
    }

    #[test]
    fn accepts_the_limit_itself_and_refuses_one_more() {
        assert!(over("text", Some(100)).is_empty());
        assert_eq!(over("text", Some(101)), ["text 101 > 100"]);
    }

    #[test]
    fn a_limited_figure_must_be_measured() {
        assert_eq!(over("text", None), ["text was not measured"]);
    }

    #[test]
    fn a_dash_sets_no_limit() {
        assert!(over("stack", Some(1 << 40)).is_empty());
    }

    #[test]
    fn a_column_that_the_table_lacks_is_an_error() {
        assert!(
            exceeded(TABLE, "hello", "m4", &[Measured { column: "ram", value: Some(1) }]).is_err()
        );
    }
}
