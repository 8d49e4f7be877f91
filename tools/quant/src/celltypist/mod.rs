//! Models of CellTypist: a linear classifier for every type behind a scaler that cuts off what is more than ten standard
//! deviations above the mean.
//!
//! They are pickles. [`read_celltypist`] reads them without Python and loads nothing that they name.

mod array;
mod error;
mod pickle;

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use cic_model::{Activation, DenseLayer, Network, Segment};

pub use error::CellTypistError;

use array::{Array, Items, array};
use pickle::{Global, Tree, Value};

/// A model of CellTypist.
#[derive(Clone, Debug, PartialEq)]
pub struct CellTypistModel {
    /// Names of the genes that it reads, each once.
    pub genes: Vec<String>,
    /// Names of the cell types, at least two, each once.
    pub classes: Vec<String>,
    /// `[n_classes × n_genes]`, of standardised values.
    pub coefficients: Vec<f64>,
    /// `[n_classes]`
    pub intercepts: Vec<f64>,
    /// `[n_genes]`, what is subtracted from network inputs; zeros of a model that was trained without.
    pub means: Vec<f64>,
    /// `[n_genes]`, above zero, what the difference is divided by.
    pub scales: Vec<f64>,
    /// `[n_genes]`, the means of its training cells, where it has them.
    pub training_means: Option<Vec<f64>>,
    /// Class and version of what trained it, like `LogisticRegression of scikit-learn 1.7.2`.
    pub producer: String,
    /// What it says of itself, `date` and the like, without what is empty.
    pub description: Vec<(String, String)>,
}

/// What a model of CellTypist cuts standardised values off at. Only above.
pub const LARGEST_STANDARDISED: f64 = 10.0;

/// Sum of a cell over all genes, before the logarithm, that these models are trained with.
pub const CELLTYPIST_SUM: u32 = 10_000;

/// Reads a model of CellTypist.
///
/// # Errors
/// What no such model has: by name, where it is a class or a function. Nothing that the file names is loaded, and nothing
/// is allocated that the file does not hold.
pub fn read_celltypist(path: &Path) -> Result<CellTypistModel, CellTypistError> {
    let io = |reason: String| CellTypistError::Io { path: path.into(), reason };
    let file = File::open(path).map_err(|error| io(error.to_string()))?;
    let len = file.metadata().map_err(|error| io(error.to_string()))?.len();
    let too_large = || io(format!("more than {MOST_BYTES} bytes; no CellTypist model has"));
    if len > MOST_BYTES {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // What is no file may have no length.
    let mut limited = file.take(MOST_BYTES + 1);
    limited.read_to_end(&mut bytes).map_err(|error| io(error.to_string()))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(too_large());
    }
    read_celltypist_bytes(&bytes)
}

/// The same, for a file in memory.
///
/// # Errors
/// Those of [`read_celltypist`].
pub fn read_celltypist_bytes(bytes: &[u8]) -> Result<CellTypistModel, CellTypistError> {
    let tree = Tree::read(bytes)?;
    let root = Fields::of(&tree, tree.root(), "the file")?;
    let (classifier, kind) =
        root.object("Model", &[Global::LogisticRegression, Global::SgdClassifier])?;
    let (scaler, _) = root.object("Scaler_", &[Global::StandardScaler])?;

    let genes = classifier.texts("features")?;
    let classes = classifier.texts("classes_")?;
    for (part, names, least) in [("Model.features", &genes, 1), ("Model.classes_", &classes, 2)] {
        if names.len() < least {
            return Err(CellTypistError::part(part, format!("{} names", names.len())));
        }
        let mut seen = HashSet::new();
        if let Some(name) = names.iter().find(|name| name.is_empty() || !seen.insert(name.as_str()))
        {
            let reason = format!("the name {name:?} is empty or stands there twice");
            return Err(CellTypistError::part(part, reason));
        }
    }
    if classes.len() > MOST_CLASSES {
        let reason = format!("more than {MOST_CLASSES} cell types");
        return Err(CellTypistError::part("Model.classes_", reason));
    }
    let n_scores = if classes.len() == 2 { 1 } else { classes.len() };
    let mut coefficients = classifier.numbers("coef_", &[n_scores, genes.len()])?;
    let mut intercepts = match classifier.get("fit_intercept") {
        Some(Value::Bool(false)) => vec![0.0; n_scores],
        _ => classifier.numbers("intercept_", &[n_scores])?,
    };
    if classes.len() == 2 {
        // One score says how much the second is likelier than the first.
        coefficients =
            coefficients.iter().map(|w| -w).chain(coefficients.iter().copied()).collect();
        intercepts = intercepts.iter().map(|b| -b).chain(intercepts.iter().copied()).collect();
    }
    let scales = scaler.numbers("scale_", &[genes.len()])?;
    if let Some(scale) = scales.iter().find(|&&scale| scale <= 0.0) {
        return Err(CellTypistError::part("Scaler_.scale_", format!("{scale} is not above zero")));
    }
    let with_mean = match scaler.get("with_mean") {
        Some(&Value::Bool(with_mean)) => with_mean,
        _ => return Err(CellTypistError::part("Scaler_.with_mean", "it is not true or false")),
    };
    let training_means = match scaler.get("mean_") {
        None | Some(Value::None) if !with_mean => None,
        _ => Some(scaler.numbers("mean_", &[genes.len()])?),
    };
    let means = training_means.clone().filter(|_| with_mean);
    Ok(CellTypistModel {
        means: means.unwrap_or_else(|| vec![0.0; genes.len()]),
        genes,
        classes,
        coefficients,
        intercepts,
        scales,
        training_means,
        producer: producer(&classifier, kind),
        description: description(&tree, &root),
    })
}

impl CellTypistModel {
    /// What CellTypist subtracts, divides and cuts off comes before the weights: the network input at which a gene is cut
    /// off, `[n_genes]`.
    pub fn limits(&self) -> Vec<f64> {
        let pairs = self.means.iter().zip(&self.scales);
        pairs.map(|(mean, scale)| mean + LARGEST_STANDARDISED * scale).collect()
    }

    /// The decision values of a cell with all genes, `[n_classes]`, as CellTypist computes them. `inputs` are
    /// `ln(1 + count · 10,000 / total)`, `[n_genes]`.
    pub fn decision(&self, inputs: &[f32]) -> Vec<f64> {
        let scaled = inputs.iter().zip(&self.means).zip(&self.scales);
        let scaled: Vec<f64> = scaled
            .map(|((&x, mean), scale)| ((f64::from(x) - mean) / scale).min(LARGEST_STANDARDISED))
            .collect();
        let rows = self.coefficients.chunks_exact(self.genes.len().max(1)).zip(&self.intercepts);
        rows.map(|(row, bias)| row.iter().zip(&scaled).map(|(w, z)| w * z).sum::<f64>() + bias)
            .collect()
    }

    /// The same model without the genes of which `keep`, `[n_genes]`, is false: what CellTypist does for a file that
    /// lacks them.
    #[must_use]
    pub fn restricted(&self, keep: &[bool]) -> Self {
        fn kept<T: Clone>(items: &[T], keep: &[bool]) -> Vec<T> {
            let kept = items.iter().zip(keep).filter(|(_, keep)| **keep);
            kept.map(|(item, _)| item.clone()).collect()
        }
        let rows = self.coefficients.chunks_exact(self.genes.len().max(1));
        Self {
            genes: kept(&self.genes, keep),
            coefficients: rows.flat_map(|row| kept(row, keep)).collect(),
            means: kept(&self.means, keep),
            scales: kept(&self.scales, keep),
            training_means: self.training_means.as_ref().map(|means| kept(means, keep)),
            ..self.clone()
        }
    }

    /// A network that gives the decision values, divided by `divisor`, of inputs that are limited already: code and logits
    /// are these. Folded in double precision and rounded once.
    pub fn network(&self, divisor: f64) -> Network {
        let (n_genes, n_classes) = (self.genes.len(), self.classes.len());
        let mut weights = Vec::with_capacity(self.coefficients.len());
        let mut bias = Vec::with_capacity(n_classes);
        for (row, intercept) in self.coefficients.chunks_exact(n_genes.max(1)).zip(&self.intercepts)
        {
            let mut sum = *intercept;
            for ((w, mean), scale) in row.iter().zip(&self.means).zip(&self.scales) {
                sum -= w / scale * mean;
                weights.push((w / scale / divisor) as f32);
            }
            bias.push((sum / divisor) as f32);
        }
        let mut unit = vec![0.0; n_classes * n_classes];
        unit.iter_mut().step_by(n_classes + 1).for_each(|weight| *weight = 1.0);
        let layer = |in_dim: usize, weights: Vec<f32>, bias: Vec<f32>| DenseLayer {
            in_dim,
            segments: vec![Segment { len: n_classes, activation: Activation::Identity }],
            carry: 0,
            weights,
            bias,
        };
        Network {
            encoder: vec![layer(n_genes, weights, bias)],
            classifier: vec![layer(n_classes, unit, vec![0.0; n_classes])],
            decoder: Vec::new(),
        }
    }
}

/// A dictionary, or the state of an object.
struct Fields<'t, 'a> {
    tree: &'t Tree<'a>,
    /// What it is called in messages.
    name: &'static str,
    pairs: &'t [(u32, u32)],
}

impl<'t, 'a> Fields<'t, 'a> {
    fn of(
        tree: &'t Tree<'a>,
        value: &'t Value<'a>,
        name: &'static str,
    ) -> Result<Self, CellTypistError> {
        match value {
            Value::Dict(pairs) => Ok(Self { tree, name, pairs }),
            _ => Err(CellTypistError::part(name, "it is no dictionary")),
        }
    }

    /// The last one of this name, as in Python.
    fn get(&self, name: &str) -> Option<&'t Value<'a>> {
        let mut pairs = self.pairs.iter().rev();
        let found = pairs.find(|(key, _)| self.tree.get(*key) == &Value::Text(name));
        found.map(|&(_, value)| self.tree.get(value))
    }

    fn object(
        &self,
        name: &'static str,
        expected: &[Global],
    ) -> Result<(Self, Global), CellTypistError> {
        match self.get(name) {
            Some(Value::Object { made_by, state: Some(state), .. })
                if expected.contains(made_by) =>
            {
                Ok((Self::of(self.tree, self.tree.get(*state), name)?, *made_by))
            }
            _ => {
                Err(CellTypistError::part(name, "it is missing, or is not what CellTypist writes"))
            }
        }
    }

    fn array(&self, name: &str) -> Result<(Array, String), CellTypistError> {
        let part = format!("{}.{name}", self.name);
        let value = self.get(name).ok_or_else(|| CellTypistError::part(&part, "it is missing"))?;
        Ok((array(self.tree, value, &part)?, part))
    }

    /// Finite numbers of this shape.
    fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f64>, CellTypistError> {
        let (array, part) = self.array(name)?;
        let Items::Numbers(numbers) = array.items else {
            return Err(CellTypistError::part(&part, "its items are no numbers"));
        };
        if array.shape != shape {
            let reason = format!("its shape is {:?}, not {shape:?}", array.shape);
            return Err(CellTypistError::part(&part, reason));
        }
        match numbers.iter().find(|number| !number.is_finite()) {
            Some(number) => Err(CellTypistError::part(&part, format!("{number} is not finite"))),
            None => Ok(numbers),
        }
    }

    /// A list of names; numbers, as those of clusters, become text.
    fn texts(&self, name: &str) -> Result<Vec<String>, CellTypistError> {
        let (array, part) = self.array(name)?;
        if array.shape.len() != 1 {
            return Err(CellTypistError::part(&part, "it is no list"));
        }
        Ok(match array.items {
            Items::Texts(texts) => texts,
            Items::Numbers(numbers) => numbers.iter().map(ToString::to_string).collect(),
        })
    }
}

fn producer(classifier: &Fields<'_, '_>, kind: Global) -> String {
    let class = match kind {
        Global::SgdClassifier => "SGDClassifier",
        _ => "LogisticRegression",
    };
    match classifier.get("_sklearn_version") {
        Some(Value::Text(version)) => format!("{class} of scikit-learn {version}"),
        _ => format!("{class} of scikit-learn"),
    }
}

fn description(tree: &Tree<'_>, root: &Fields<'_, '_>) -> Vec<(String, String)> {
    let Some(Value::Dict(pairs)) = root.get("description") else { return Vec::new() };
    let texts = pairs.iter().filter_map(|&(key, value)| match (tree.get(key), tree.get(value)) {
        (Value::Text(key), Value::Text(value)) if !value.is_empty() => {
            Some(((*key).into(), (*value).into()))
        }
        _ => None,
    });
    texts.collect()
}

/// Most cell types: behind their scores stands a layer that is the square of them.
const MOST_CLASSES: usize = 2048;
/// Largest file that is read.
const MOST_BYTES: u64 = 1 << 30;
