//! Collections of gene sets in the GMT format: a set per line, its name, a description and its genes, separated by tabs.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::text_source::{BYTE_ORDER_MARK, TextSource};

/// The gene sets of a file, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneSets {
    /// The file.
    pub path: PathBuf,
    /// Their names are unique.
    pub sets: Vec<GeneSet>,
}

/// Genes with something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneSet {
    /// Name, not empty.
    pub name: String,
    /// What stands in the second field: a title, an address or nothing.
    pub description: String,
    /// Names of genes as written: symbols or ids. They may repeat.
    pub genes: Vec<String>,
}

/// Reads a GMT file, compressed or not. Empty lines and empty fields are passed over; a set may be empty.
///
/// # Errors
/// Anything that cannot be read, a line of fewer than two fields, a set without a name or with the name of an
/// earlier one, a file without sets or of more than 256 MiB.
pub fn read_gene_sets(path: &Path) -> Result<GeneSets, DataError> {
    let mut source = TextSource::open(path)?;
    let mut bytes = Vec::new();
    if let Err(error) = (&mut source).take(LONGEST + 1).read_to_end(&mut bytes) {
        return Err(source.fault(error));
    }
    if bytes.len() as u64 > LONGEST {
        return Err(DataError::UnsupportedFormat {
            path: path.to_path_buf(),
            format: format!("more than {} MiB of text", LONGEST >> 20),
            advice: "collections of gene sets are smaller; give a part of it",
        });
    }
    let mut sets = Vec::new();
    let mut lines_of: HashMap<String, u64> = HashMap::new();
    for (line, number) in bytes.split(|&byte| byte == b'\n').zip(1..) {
        let refuse = |reason: String| DataError::Table { path: path.into(), line: number, reason };
        let text = std::str::from_utf8(line).map_err(|_| DataError::NotUtf8 {
            path: path.to_path_buf(),
            place: format!("line {number}"),
        })?;
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        if text.trim().is_empty() {
            continue;
        }
        let set = parse(text).map_err(refuse)?;
        if let Some(first) = lines_of.insert(set.name.clone(), number) {
            let name = &set.name;
            return Err(refuse(format!(
                "the set {name:?} stands at line {first} as well; names of sets must be unique"
            )));
        }
        sets.push(set);
    }
    if sets.is_empty() {
        return Err(DataError::Empty { path: path.to_path_buf(), expected: "a gene set per line" });
    }
    Ok(GeneSets { path: path.to_path_buf(), sets })
}

fn parse(line: &str) -> Result<GeneSet, String> {
    let mut fields = line.split('\t').map(str::trim);
    let name = fields.next().unwrap_or_default();
    let Some(description) = fields.next() else {
        return Err(format!(
            "no tab; expected GMT: the name of a set, a description and its genes, separated by tabs, \
             found {:?}",
            line.chars().take(40).collect::<String>()
        ));
    };
    if name.is_empty() {
        return Err("the set has no name; expected one before the first tab".into());
    }
    let genes = fields.filter(|gene| !gene.is_empty()).map(String::from).collect();
    Ok(GeneSet { name: name.into(), description: description.into(), genes })
}

/// The largest collections have a tenth of it.
const LONGEST: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<GeneSet>, DataError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        read_gene_sets(file.path()).map(|read| read.sets)
    }

    const TEXT: &[u8] =
        b"\xef\xbb\xbfB CELLS\thttp://x\tMS4A1\tCD79A\t\tMS4A1\r\n\nNONE\tnothing\nT\t\tCD3E\n";

    #[test]
    fn sets_are_lines_of_a_name_a_description_and_genes() {
        let sets = read(TEXT).unwrap();
        let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        assert_eq!(names, ["B CELLS", "NONE", "T"]);
        assert_eq!(sets[0].genes, ["MS4A1", "CD79A", "MS4A1"]);
        assert_eq!((sets[1].description.as_str(), sets[2].description.as_str()), ("nothing", ""));
        assert!(sets[1].genes.is_empty());
        assert_eq!(sets[2].genes, ["CD3E"]);
    }

    #[test]
    fn gzip_is_known_by_its_content() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(TEXT).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(read(&packed).unwrap(), read(TEXT).unwrap());
        let cut = read(&packed[..packed.len() / 2]);
        assert!(matches!(cut, Err(DataError::Gzip { .. })), "{cut:?}");
    }

    #[test]
    fn refusals_name_the_line() {
        for (bytes, words) in [
            (&b"A\tx\tG1\nB G2 G3\n"[..], "line 2: no tab"),
            (b"A\tx\tG1\n\tx\tG1\n", "line 2: the set has no name"),
            (b"A\tx\tG1\nB\tx\nA\tx\tG2\n", "line 3: the set \"A\" stands at line 1 as well"),
            (b"A\tx\tG1\nB\tx\t\xff\n", "line 2 is not UTF-8"),
            (b"\n\n", "is empty"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
