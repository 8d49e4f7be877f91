//! Text tables of values, and tables of labels beside them.
#![no_main]

use std::sync::LazyLock;

use cic_data::{Orientation, ReadOptions, read_labels_tsv};
use cic_fuzz::{Folder, read_both_ways, write_seeds};
use libfuzzer_sys::fuzz_target;

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::create);

fuzz_target!(init: write_seeds(seeds()), |bytes: &[u8]| {
    let path = FOLDER.write("table.tsv", bytes);
    let orientation = match bytes.len() % 3 {
        0 => None,
        1 => Some(Orientation::GenesByObs),
        _ => Some(Orientation::ObsByGenes),
    };
    read_both_ways(&path, &ReadOptions { orientation, ..ReadOptions::default() }, bytes.len());
    if bytes.len() % 8 == 0 {
        let _ = read_labels_tsv(&path).map_err(|error| error.to_string());
    }
});

fn seeds() -> Vec<(String, Vec<u8>)> {
    let texts = [
        "\tcell_a\tcell_b\nTP53\t1\t0\nACTB\t2\t3.5\nGAPDH\t0\t4\n",
        "gene,cell_a,cell_b\nTP53,1,0\nACTB,2,3.5\nGAPDH,0,4\n",
        "cell_a\tcell_b\r\nTP53\t1\t0\r\nACTB\t2\t3.5\r\nGAPDH\t0\t4",
        "\u{feff}\"\",\"cell_a\",\"cell_b\"\n\"TP53\",1,0\n\"AC\"\"TB\",2,3.5\n",
        "\tTP53\tACTB\tGAPDH\ncell_a\t1\t2\t0\ncell_b\t0\t3.5e0\t4\n",
        "id\tENSG00000237683\tENSG00000237684.2\nS1\t16777216\tNA\nS2\t-1\tinf\n",
        "sample\ttype\tsplit\ns1\tB\ttrain\ns2\tT\ttest\n",
    ];
    let named = |(at, text): (usize, &&str)| (format!("table-{at}"), text.as_bytes().to_vec());
    texts.iter().enumerate().map(named).collect()
}
