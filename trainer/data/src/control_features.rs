//! Features that are no genes of the sample, known by the names that instruments and programs give
//! them.

/// What a feature is that is no gene; `None` for all that may be one. The text is a plural, for
/// messages: "negative controls".
pub fn control_feature(name: &str) -> Option<&'static str> {
    let begins = |(prefix, _): &&(&str, &str)| name.starts_with(*prefix);
    let contains = |(part, _): &&(&str, &str)| name.contains(*part);
    let ends = |(suffix, _): &&(&str, &str)| name.ends_with(*suffix);
    (PREFIXES.iter().find(begins))
        .or_else(|| PARTS.iter().find(contains))
        .or_else(|| SUFFIXES.iter().find(ends))
        .map(|(_, what)| *what)
}

/// Xenium, Visium HD, CosMx, GeoMx, MERSCOPE; spike-ins; HTSeq and STAR; CITE-seq.
const PREFIXES: [(&str, &str); 24] = [
    ("NegControlProbe_", "negative controls"),
    ("NegControlCodeword_", "negative controls"),
    ("NegPrb", "negative controls"),
    ("NegProbe", "negative controls"),
    ("NegativeControl", "negative controls"),
    ("antisense_", "negative controls"),
    ("BLANK_", "blank codes"),
    ("Blank-", "blank codes"),
    ("Blank_", "blank codes"),
    ("UnassignedCodeword_", "unassigned codes"),
    ("DeprecatedCodeword_", "deprecated codes"),
    ("Deprecated", "deprecated codes"),
    ("SystemControl", "system controls"),
    ("Intergenic_Region_", "genomic controls"),
    ("GenomicControl", "genomic controls"),
    ("ERCC-", "ERCC spike-ins"),
    ("__no_feature", "summary lines"),
    ("__ambiguous", "summary lines"),
    ("__too_low_aQual", "summary lines"),
    ("__not_aligned", "summary lines"),
    ("__alignment_not_unique", "summary lines"),
    ("N_unmapped", "summary lines"),
    ("AB_", "antibodies"),
    ("Hashtag", "antibodies"),
];

const PARTS: [(&str, &str); 1] = [("_TotalSeq", "antibodies")];

const SUFFIXES: [(&str, &str); 3] =
    [("_PROT", "antibodies"), ("_protein", "antibodies"), ("_ADT", "antibodies")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_told_from_genes() {
        for (name, what) in [
            ("NegControlProbe_00042", "negative controls"),
            ("antisense_PROKR2", "negative controls"),
            ("BLANK_0069", "blank codes"),
            ("Blank-12", "blank codes"),
            ("UnassignedCodeword_0005", "unassigned codes"),
            ("DeprecatedCodeword_0321", "deprecated codes"),
            ("ERCC-00002", "ERCC spike-ins"),
            ("__no_feature", "summary lines"),
            ("CD3_UCHT1_TotalSeqB", "antibodies"),
            ("AB_CD3", "antibodies"),
            ("CD3_PROT", "antibodies"),
        ] {
            assert_eq!(control_feature(name), Some(what), "{name}");
        }
        for name in ["ERCC1", "ABCA1", "NEGR1", "CD3E", "ERCC6L2", "ENSG00000141510", "BLNK"] {
            assert_eq!(control_feature(name), None, "{name}");
        }
    }
}
