//! Models of CellTypist (`tests/celltypist/make.py`) against what CellTypist gives for them, and pickles that are refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cic_quant::celltypist::{CellTypistModel, read_celltypist, read_celltypist_bytes};
use serde_json::Value;

/// Of the largest decision value. CellTypist sums in single precision where its data are.
const TOLERANCE: f64 = 1e-6;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/celltypist").join(name)
}

fn read(name: &str) -> CellTypistModel {
    read_celltypist(&path("read").join(name).with_extension("pkl"))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn golden(name: &str) -> Value {
    let text = fs::read_to_string(path("read").join(name).with_extension("json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().into()).collect()
}

fn rows(table: &Value) -> Vec<Vec<f64>> {
    let row = |row: &Value| row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    table.as_array().unwrap().iter().map(row).collect()
}

fn inputs(golden: &Value) -> Vec<Vec<f32>> {
    let rows = rows(&golden["inputs"]);
    rows.iter().map(|row| row.iter().map(|&x| x as f32).collect()).collect()
}

/// Largest difference, as a share of the largest expected value.
fn largest_difference(found: &[Vec<f64>], expected: &[Vec<f64>]) -> f64 {
    assert_eq!(found.len(), expected.len());
    assert_eq!(found[0].len(), expected[0].len());
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    let (worst, largest) = pairs.fold((0.0_f64, 0.0_f64), |(worst, largest), (a, b)| {
        (worst.max((a - b).abs()), largest.max(b.abs()))
    });
    worst / largest
}

/// The file that a form of a model is of.
fn original(stem: &str) -> &str {
    let end = ["-protocol", "-layout"].iter().find_map(|form| stem.find(form));
    &stem[..end.unwrap_or(stem.len())]
}

#[test]
fn models_of_every_form_give_the_decision_values_of_celltypist() {
    let mut n = 0;
    for file in fs::read_dir(path("read")).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_none_or(|end| end != "pkl") {
            continue;
        }
        let stem = file.file_stem().unwrap().to_str().unwrap().to_string();
        let model = read(&stem);
        let golden = golden(original(&stem));
        assert_eq!(model.genes, texts(&golden["genes"]), "{stem}");
        assert_eq!(model.classes, texts(&golden["classes"]), "{stem}");
        let found: Vec<Vec<f64>> =
            inputs(&golden).iter().map(|input| model.decision(input)).collect();
        let off = largest_difference(&found, &rows(&golden["decision"]));
        println!("{stem}: {off:.1e}");
        assert!(off <= TOLERANCE, "{stem}: {off:e}");
        n += 1;
    }
    assert!(n >= 14, "{n}");
}

/// The network alone, of inputs that are limited as a profile limits them.
#[test]
fn networks_of_limited_inputs_give_the_decision_values() {
    for name in ["lr", "lr-nomean", "lr-two", "sgd", "numpy1", "by-hand"] {
        let (model, golden) = (read(name), golden(name));
        let network = model.network(4.0);
        let [encoder] = network.encoder.as_slice() else { panic!("{name}") };
        let limits = model.limits();
        let mut n_cut = 0;
        let found: Vec<Vec<f64>> = inputs(&golden)
            .iter()
            .map(|input| {
                let limited = input.iter().zip(&limits).map(|(&x, &limit)| {
                    n_cut += usize::from(f64::from(x) > limit);
                    f64::from(x).min(limit)
                });
                let limited: Vec<f64> = limited.collect();
                let rows = encoder.weights.chunks_exact(encoder.in_dim).zip(&encoder.bias);
                let sum = |row: &[f32]| -> f64 {
                    row.iter().zip(&limited).map(|(&w, x)| f64::from(w) * x).sum()
                };
                rows.map(|(row, &bias)| 4.0 * (sum(row) + f64::from(bias))).collect()
            })
            .collect();
        assert!(n_cut > 0, "{name}: nothing is cut off");
        let off = largest_difference(&found, &rows(&golden["decision"]));
        assert!(off <= 10.0 * TOLERANCE, "{name}: {off:e}");
    }
}

#[test]
fn genes_that_a_file_lacks_add_nothing() {
    let (model, golden) = (read("lr"), golden("lr"));
    let lacking = texts(&golden["lacking"]);
    assert!(lacking.len() >= 5);
    let keep: Vec<bool> = model.genes.iter().map(|gene| !lacking.contains(gene)).collect();
    let restricted = model.restricted(&keep);
    let found: Vec<Vec<f64>> = inputs(&golden)
        .iter()
        .map(|input| {
            let kept = input.iter().zip(&keep).filter(|(_, keep)| **keep);
            restricted.decision(&kept.map(|(&x, _)| x).collect::<Vec<f32>>())
        })
        .collect();
    let off = largest_difference(&found, &rows(&golden["decision_lacking"]));
    assert!(off <= TOLERANCE, "{off:e}");
}

#[test]
fn what_a_model_says_of_itself_is_kept() {
    let model = read("lr");
    assert!(
        model.producer.starts_with("LogisticRegression of scikit-learn 1."),
        "{}",
        model.producer
    );
    assert_eq!(model.description, [("date".to_string(), "made by make.py".to_string())]);
    assert!(read("sgd").producer.starts_with("SGDClassifier of"));
    assert!(read("lr-nomean").means.iter().all(|&mean| mean == 0.0));
    assert!(read("lr-nomean").training_means.is_some());
}

/// What each file of `refused` must be refused for.
const REFUSED: [(&str, &str); 80] = [
    ("append-to-text", "appended to what is no list"),
    ("array-of-scaler", "Model.coef_: it is no array of NumPy's"),
    ("array-without-state", "Model.coef_: it is no array of NumPy's"),
    ("below-mark", "a value is missing, at byte 5"),
    ("builtins-eval", "it names \"builtins.eval\" at byte"),
    ("call-of-text", "made by what is no class or function"),
    ("call-without-tuple", "arguments are no tuple"),
    ("class-in-list", "Model.classes_: an item is neither text nor a number"),
    ("coefficients-as-text", "Model.coef_: its items are no numbers"),
    ("coefficients-in-list", "Model.coef_: it is no array"),
    ("complex", "Model.coef_: items of type \"c16\" are not read"),
    ("cycle", "the file: it is no dictionary"),
    ("dataframe", "it names \"pandas.core.indexes.base._new_Index\""),
    ("deep-lists", "more than 32 values in each other"),
    ("deep-marks", "more than 32 values in each other"),
    ("deep-states", "more than 32 values in each other"),
    ("deep-tuples", "more than 32 values in each other"),
    ("empty", "the file ends early, at byte 0"),
    ("empty-shape", "Model.coef_: its shape is [1099511627776, 0], not [3, 2]"),
    ("empty-texts", "Model.features: items of type \"U0\" are not read"),
    ("extension-code", "instruction 0x82 is none"),
    ("gene-twice", "Model.features: the name \"A\" is empty or stands there twice"),
    ("getattr", "it names \"builtins.getattr\""),
    ("huge-bytes", "the file ends early"),
    ("huge-integer", "the file ends early"),
    ("huge-shape", "Model.coef_: its array is too large"),
    ("huge-text", "the file ends early"),
    ("huge-texts", "Model.features: items of type \"U4611686018427387904\""),
    ("import-in-state", "it names \"subprocess.Popen\""),
    ("infinite-scale", "Scaler_.scale_: inf is not finite"),
    ("intercepts", "Model.intercept_: its shape is [2], not [3]"),
    ("large-shape", "Model.coef_: its array holds not the 2147483648 items"),
    ("list", "the file: it is no dictionary"),
    ("long-data", "Model.coef_: its array holds not the 6 items of its shape [3, 2]"),
    ("long-names", "Model.features: its texts are too long"),
    ("many-classes", "Model.classes_: more than 2048 cell types"),
    ("missing-mark", "a mark is missing"),
    ("missing-memory", "recalled that was not remembered"),
    ("missing-value", "a value is missing"),
    ("model-without-state", "Model: it is missing, or is not what CellTypist writes"),
    ("name-of-number", "a name is no text"),
    ("nameless-class", "Model.classes_: the name \"\" is empty"),
    ("negative-shape", "Model.coef_: its array has not one or two dimensions"),
    ("no-coefficients", "Model.coef_: it is missing"),
    ("no-end", "the file ends early"),
    ("no-features", "Model.features: it is missing"),
    ("no-letters", "Model.features: a text is no Unicode"),
    ("no-means", "Scaler_.mean_: it is missing"),
    ("no-model", "Model: it is missing"),
    ("no-pickle", "it does not begin as protocols 2 to 5 do"),
    ("no-scaler", "Scaler_: it is missing"),
    ("not-finite", "Model.coef_: NaN is not finite"),
    ("not-latin1", "a text stands for no bytes"),
    ("not-utf8", "a text is no UTF-8"),
    ("odd-pairs", "pairs are put into what is no dictionary"),
    ("one-class", "Model.classes_: 1 names"),
    ("os-system", "it names \"os.system\" at byte 2"),
    ("other-classifier", "it names \"sklearn.linear_model._logistic.LogisticRegressionCV\""),
    ("other-codec", "a text stands for no bytes"),
    ("other-shape", "Model.coef_: its shape is [2, 3], not [3, 2]"),
    ("out-of-band", "instruction 0x97 is none"),
    ("persistent-id", "instruction 0x51 is none"),
    ("protocol-0", "it does not begin as protocols 2 to 5 do"),
    ("protocol-6", "it does not begin as protocols 2 to 5 do"),
    ("random-state", "it names \"numpy.random._pickle.__randomstate_ctor\""),
    ("scaler-of-another-class", "Scaler_: it is missing, or is not"),
    ("set", "instruction 0x8f is none"),
    ("set-in-list", "pairs are put into what is no dictionary"),
    ("short-data", "Model.coef_: its array holds not the 6 items of its shape [3, 2]"),
    ("short-means", "Scaler_.mean_: its shape is [1], not [2]"),
    ("state-of-list", "a state is given to what has none to get"),
    ("state-twice", "a state is given to what has none to get"),
    ("submodule", "it names \"numpy.ndarray.tofile\""),
    ("text-integer", "instruction 0x49 is none"),
    ("three-dimensions", "Model.coef_: its array has not one or two dimensions"),
    ("times", "Model.coef_: items of type \"M8\" are not read"),
    ("truncated", "the file ends early"),
    ("void", "Model.coef_: items of type \"V8\" are not read"),
    ("with-mean", "Scaler_.with_mean: it is not true or false"),
    ("zero-scale", "Scaler_.scale_: 0 is not above zero"),
];

#[test]
fn other_pickles_are_refused_by_name() {
    let expected: BTreeMap<&str, &str> = REFUSED.into_iter().collect();
    let files = fs::read_dir(path("refused")).unwrap().map(|file| file.unwrap().path());
    let mut n = 0;
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_string();
        let error = read_celltypist(&file).expect_err(&name).to_string();
        let why = expected.get(name.as_str()).unwrap_or_else(|| panic!("{name}: {error}"));
        assert!(error.contains(why), "{name}: {error}");
        n += 1;
    }
    assert_eq!(n, expected.len());
}

/// Whatever is cut off or changed, there is an error or a model, and no panic.
#[test]
fn damaged_models_never_panic() {
    let (mut state, mut n_read) = (7_u64, 0);
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    for name in ["lr", "lr-protocol2", "lr-protocol5", "lr-layout5", "by-hand"] {
        let whole = fs::read(path("read").join(name).with_extension("pkl")).unwrap();
        for len in 0..whole.len() {
            assert!(read_celltypist_bytes(&whole[..len]).is_err(), "{name}: {len} bytes");
        }
        for _ in 0..4_000 {
            let mut damaged = whole.clone();
            for _ in 0..=random(3) {
                let at = random(damaged.len());
                damaged[at] = random(256) as u8;
            }
            n_read += usize::from(read_celltypist_bytes(&damaged).is_ok());
        }
    }
    // Other weights and names are as good.
    assert!(n_read > 100, "{n_read}");
}

/// A pickle of nothing but instructions is given up before it takes much memory.
#[test]
fn endless_instructions_are_given_up() {
    let mut bytes = b"\x80\x04".to_vec();
    bytes.resize(16 << 20, b'N');
    let error = read_celltypist_bytes(&bytes).unwrap_err().to_string();
    assert!(error.contains("more than 4194304 instructions"), "{error}");
}
