//! Names like one that is not there, for messages.

/// The name that differs least from `name`, whatever the case, if it is like it at all.
///
/// ```
/// let names = ["cell_type", "donor"];
/// assert_eq!(cic_data::nearest_name("celltype", names), Some("cell_type"));
/// assert_eq!(cic_data::nearest_name("leiden", names), None);
/// ```
pub fn nearest_name<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let near = names.into_iter().map(|other| (distance(&name, &other.to_lowercase()), other));
    let (distance, other) = near.min()?;
    (distance <= 1 + name.chars().count() / 3).then_some(other)
}

/// Names for a message about one that is not among them: all of a few, and which may be meant.
pub(crate) fn listed<'a>(name: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let n = names.clone().count();
    let mut text = names.clone().take(SHOWN).collect::<Vec<_>>().join(", ");
    if n > SHOWN {
        text += &format!(" and {} more", n - SHOWN);
    }
    if let Some(near) = nearest_name(name, names) {
        text += &format!("; is {near:?} meant?");
    }
    text
}

/// Letters to be put in, taken out or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

const SHOWN: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted_once_each() {
        for (a, b, expected) in
            [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0), ("ab", "ba", 2)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn names_are_near_whatever_their_case() {
        assert_eq!(nearest_name("cd4_t", ["NK", "CD4 T"]), Some("CD4 T"));
        assert_eq!(nearest_name("erythrocyte", ["NK", "CD4 T"]), None);
        assert_eq!(nearest_name("x", []), None);
    }

    #[test]
    fn long_lists_are_cut_and_still_searched() {
        let names: Vec<String> = (0..40).map(|n| format!("column{n}")).collect();
        let text = listed("colum39", names.iter().map(String::as_str));
        assert!(text.contains("column29 and 10 more; is \"column39\" meant?"), "{text}");
    }
}
